"""Which settings class reads the variables of which pod."""

from rondo_aggregator.settings import AggregatorSettings
from rondo_core.celery_worker import CelerySettings
from rondo_core.settings import AwsSettings, read_settings
from rondo_dispatcher.settings import Settings as DispatcherSettings
from rondo_evaluator.settings import Settings as EvaluatorSettings
from rondo_gateway.settings import Settings as GatewaySettings
from rondo_inference.batch.settings import BatchSettings
from rondo_inference.settings import Settings as InferenceSettings
from rondo_local.bootstrap import BootstrapSettings
from tests.deploy.kubernetes_view import Overlay, Pod

__all__ = [
    "CELERY",
    "DOORS",
    "SETTINGS",
    "WORKERS",
    "celery_settings",
    "settings_of",
    "worker_settings",
]

SETTINGS: dict[str, type[AwsSettings]] = {
    "aggregator-intake": AggregatorSettings,
    "aggregator-worker": AggregatorSettings,
    "batch-intake": BatchSettings,
    "batch-worker": BatchSettings,
    "bootstrap": BootstrapSettings,
    "dispatcher": DispatcherSettings,
    "evaluator": EvaluatorSettings,
    "gateway": GatewaySettings,
    "inference": InferenceSettings,
}
DOORS = {"gateway", "inference"}
WORKERS = SETTINGS.keys() - DOORS - {"bootstrap"}
"""What is nothing while nobody trains and no batch job is under way."""
CELERY = ("aggregator", "batch")
"""Services of an intake and of workers, which take tasks from a list of Redis."""


def settings_of(pod: Pod) -> AwsSettings:
    """Read a pod's variables as its process does."""
    return read_settings(SETTINGS[pod.name], pod.variables)


def worker_settings(overlay: Overlay) -> AggregatorSettings:
    """Read those of the aggregator's workers."""
    return read_settings(AggregatorSettings, overlay.pod("aggregator-worker").variables)


def celery_settings(overlay: Overlay, service: str, process: str) -> CelerySettings:
    """Read those of one process of a service in ``CELERY``: ``intake`` or ``worker``."""
    settings = settings_of(overlay.pod(f"{service}-{process}"))
    assert isinstance(settings, CelerySettings)
    return settings
