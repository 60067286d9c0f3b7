"""The aggregator's Celery app."""

from celery import Celery

from rondo_aggregator.domain.attempt import SERVICE
from rondo_aggregator.settings import AggregatorSettings
from rondo_core.celery_worker import new_app as core_app

__all__ = ["new_app"]


def new_app(settings: AggregatorSettings) -> Celery:
    """Return an app without tasks, which is all that a program needs that only enqueues."""
    return core_app(SERVICE, settings)
