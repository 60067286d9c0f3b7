"""All contracts of the container in one table."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry

from rondo_inference.contracts import operations, sagemaker, tfs
from rondo_inference.contracts.messages import PredictRoute, Route
from rondo_inference.handlers import Predict
from rondo_inference.registry.catalogue import Catalogue

__all__ = ["every_route"]


def every_route(
    catalogue: Catalogue,
    predict: Predict,
    *,
    metrics: CollectorRegistry,
    ready: Callable[[], bool],
) -> tuple[Route | PredictRoute, ...]:
    """Return the routes of every contract; no two of them match the same request.

    Args:
        catalogue: what is served.
        predict: the one way to a prediction.
        metrics: what ``/metrics`` shows.
        ready: whether the process takes requests: it has scanned the aliases and does not drain.
    """
    return (
        *tfs.routes(catalogue, predict),
        *sagemaker.routes(catalogue, predict, ready),
        *operations.routes(catalogue, metrics, ready),
    )
