"""Which settings class reads the variables of which pod."""

from rondo_aggregator.settings import AggregatorSettings
from rondo_core.settings import AwsSettings, read_settings
from rondo_dispatcher.settings import Settings as DispatcherSettings
from rondo_evaluator.settings import Settings as EvaluatorSettings
from rondo_gateway.settings import Settings as GatewaySettings
from rondo_inference.settings import Settings as InferenceSettings
from rondo_local.bootstrap import BootstrapSettings
from tests.deploy.kubernetes_view import Overlay, Pod

__all__ = ["DOORS", "SETTINGS", "TRAINING", "settings_of", "worker_settings"]

SETTINGS: dict[str, type[AwsSettings]] = {
    "aggregator-intake": AggregatorSettings,
    "aggregator-worker": AggregatorSettings,
    "bootstrap": BootstrapSettings,
    "dispatcher": DispatcherSettings,
    "evaluator": EvaluatorSettings,
    "gateway": GatewaySettings,
    "inference": InferenceSettings,
}
DOORS = {"gateway", "inference"}
TRAINING = {"aggregator-intake", "aggregator-worker", "dispatcher", "evaluator"}
"""The side that is nothing while nobody trains."""


def settings_of(pod: Pod) -> AwsSettings:
    """Read a pod's variables as its process does."""
    return read_settings(SETTINGS[pod.name], pod.variables)


def worker_settings(overlay: Overlay) -> AggregatorSettings:
    """Read those of the Celery workers."""
    return read_settings(AggregatorSettings, overlay.pod("aggregator-worker").variables)
