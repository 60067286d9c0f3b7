"""What operators, probes and people ask: health, metrics, the list of models, the documents."""

from collections.abc import Callable
from functools import partial

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from rondo_inference.contracts.messages import (
    TEXT,
    Answer,
    Request,
    Route,
    json_answer,
    route_pattern,
)
from rondo_inference.registry.catalogue import Catalogue
from rondo_inference.registry.slots import Slot

__all__ = ["routes"]

_SHOWN = 10
"""How many models a probe is told of."""


def routes(
    catalogue: Catalogue, metrics: CollectorRegistry, ready: Callable[[], bool]
) -> tuple[Route, ...]:
    """Return the routes."""
    return (
        Route("healthz", "GET", route_pattern("/healthz"), _alive, open=True),
        Route(
            "readyz", "GET", route_pattern("/readyz"), partial(_ready, catalogue, ready), open=True
        ),
        Route("metrics", "GET", route_pattern("/metrics"), partial(_metrics, metrics), open=True),
        Route("catalogue", "GET", route_pattern("/catalogue"), partial(_models, catalogue)),
    )


def _alive(_: Request) -> Answer:
    """Stays 200 while the process drains: it is alive as long as it can answer this."""
    return Answer(b"ok\n", TEXT)


def _ready(catalogue: Catalogue, ready: Callable[[], bool], _: Request) -> Answer:
    if ready():
        return Answer(b"ready\n", TEXT)
    lacking = "; ".join(catalogue.lacking()[:_SHOWN])
    return Answer(f"not ready{lacking and ': '}{lacking}\n".encode(), TEXT, 503)


def _metrics(metrics: CollectorRegistry, _: Request) -> Answer:
    return Answer(generate_latest(metrics), CONTENT_TYPE_LATEST)


def _models(catalogue: Catalogue, _: Request) -> Answer:
    return json_answer({"models": [_as_json(slot) for slot in catalogue.slots()]})


def _as_json(slot: Slot) -> dict[str, object]:
    """Say what a caller needs to build a request and to read the answer."""
    found: dict[str, object] = {
        "name": slot.wanted.model,
        "label": slot.wanted.label,
        "state": slot.state,
    }
    if slot.reason:
        found["failure"] = slot.reason
    if slot.served is None:
        return found
    spec, signature = slot.served.spec, slot.served.signature
    if spec is not None:
        found |= {"input": spec.input, "output": spec.output}
    return found | {
        "version": slot.served.version,
        "run": slot.served.lineage,
        "spec": slot.served.alias.spec,
        "metrics": slot.served.alias.metrics,
        "promoted_at": slot.served.alias.promoted_at,
        "inputs": [(info.name, info.datatype, info.shape) for info in signature.inputs],
        "outputs": [(info.name, info.datatype, info.shape) for info in signature.outputs],
        "engines": slot.served.choice,
    }
