"""All contracts of the container in one table."""

from collections.abc import Callable
from dataclasses import dataclass

from prometheus_client import CollectorRegistry

from rondo_inference.batch.orders import Orders
from rondo_inference.contracts import (
    batch_jobs,
    lambda_invoke,
    multi_model,
    oip,
    oip_repository,
    operations,
    sagemaker,
    tfs,
)
from rondo_inference.contracts.media import FileRules
from rondo_inference.contracts.messages import PredictRoute, Route, WaitRoute
from rondo_inference.contracts.openapi import Documents
from rondo_inference.handlers import Inference
from rondo_inference.registry.catalogue import Catalogue

__all__ = ["AnyRoute", "DoorRules", "every_route"]

AnyRoute = Route | PredictRoute | WaitRoute


@dataclass(frozen=True, slots=True)
class DoorRules:
    """What the contracts need to know.

    Attributes:
        files: what files may be.
        max_body_bytes: a longer body is refused.
        concurrency: predictions that are computed at a time.
        describe: for the multi-model contract; None: it is not spoken.
        orders: batch jobs; None: a folder is served, and there is no store to keep them in.
    """

    files: FileRules
    max_body_bytes: int = 25 * 1024 * 1024
    concurrency: int = 1
    describe: multi_model.Describe | None = None
    orders: Orders | None = None

    def documents(self, catalogue: Catalogue) -> Documents:
        """Return what writes the OpenAPI document."""
        return Documents(catalogue, self.orders is not None, self.describe is not None)


def every_route(
    inference: Inference,
    *,
    rules: DoorRules,
    metrics: CollectorRegistry,
    ready: Callable[[], bool],
    healthy: Callable[[], bool],
) -> tuple[AnyRoute, ...]:
    """Return the routes of every contract; no two of them match the same request.

    Args:
        inference: the core.
        rules: see there.
        metrics: what ``/metrics`` shows.
        ready: whether the process takes requests: it has scanned the aliases and does not drain.
        healthy: what SageMaker's ping tells: as ``ready``, or, with many models, whether it lives.
    """
    many: tuple[AnyRoute, ...] = ()
    if rules.describe is not None:
        many = multi_model.routes(inference, rules.files, rules.describe)
    if rules.orders is not None:
        many = (*many, *batch_jobs.routes(rules.orders, inference.catalogue))
    return (
        *tfs.routes(inference.catalogue, rules.files),
        *oip_repository.routes(inference),
        *oip.routes(inference, rules.files, ready),
        *sagemaker.routes(
            rules.files,
            healthy,
            max_body_bytes=rules.max_body_bytes,
            concurrency=rules.concurrency,
        ),
        *many,
        *lambda_invoke.routes(rules.files),
        rules.documents(inference.catalogue).route(),
        *operations.routes(inference.catalogue, metrics, ready),
    )
