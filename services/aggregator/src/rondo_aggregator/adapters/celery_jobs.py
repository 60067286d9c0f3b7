"""Asks for work by Celery tasks that carry ids only."""

from collections.abc import Sequence

from celery import Celery

from rondo_aggregator.domain.attempt import Attempt
from rondo_core.celery_worker import send

__all__ = ["COMBINE", "PARTIAL", "PRODUCTS", "VALIDATE", "CeleryJobs"]

VALIDATE = "rondo.validate"
COMBINE = "rondo.combine"
PARTIAL = "rondo.partial"
PRODUCTS = "rondo.products"


class CeleryJobs:
    """`Jobs` as tasks of a Celery app. Safe to use from several threads."""

    def __init__(self, app: Celery) -> None:
        self._app = app

    def validate(self, attempt: Attempt, clients: Sequence[str]) -> None:
        """Enqueue ``rondo.validate``."""
        self._send(VALIDATE, attempt, clients=list(clients))

    def combine(self, attempt: Attempt, *, take_over: int | None = None) -> None:
        """Enqueue ``rondo.combine``."""
        self._send(COMBINE, attempt, take_over=take_over)

    def sum_products(self, attempt: Attempt, *, manifest: str, width: int, index: int) -> None:
        """Enqueue ``rondo.products``."""
        self._send(PRODUCTS, attempt, manifest=manifest, width=width, index=index)

    def make_partial(self, attempt: Attempt, *, manifest: str, width: int, index: int) -> None:
        """Enqueue ``rondo.partial``."""
        self._send(PARTIAL, attempt, manifest=manifest, width=width, index=index)

    def _send(self, name: str, attempt: Attempt, **arguments: object) -> None:
        ids = (attempt.run_id, attempt.round, attempt.attempt)
        send(self._app, name, ids, **arguments)
