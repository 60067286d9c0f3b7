"""The Open Inference Protocol's extensions: the model repository, and statistics.

Source: Triton's extension_model_repository.md and extension_statistics.md.
"""

from dataclasses import dataclass
from functools import partial

import msgspec

from rondo_core.errors import Invalid, NotFound, Unavailable
from rondo_inference.contracts.messages import (
    JSON,
    Answer,
    Request,
    Route,
    WaitRoute,
    json_answer,
    route_pattern,
)
from rondo_inference.handlers import Inference
from rondo_inference.registry.catalogue import Catalogue
from rondo_inference.stats import Duration, Stats
from rondo_inference.tally import tally

__all__ = ["IndexEntry", "load", "repository_index", "routes", "statistics", "unload"]

UNLOAD_SECONDS = 60.0


def routes(inference: Inference) -> tuple[Route | WaitRoute, ...]:
    """Return the extensions' routes."""
    model = "/v2/repository/models/(?P<model>[^/]+)"
    version = r"(?P<model>[^/]+)(?:/versions/(?P<version>[0-9]{1,18}))?"
    return (
        Route(
            "oip-statistics",
            "GET",
            route_pattern(f"/v2/models(?:/{version})?/stats"),
            partial(_statistics, inference),
        ),
        Route(
            "oip-index",
            "POST",
            route_pattern("/v2/repository/index"),
            partial(_index, inference.catalogue),
        ),
        WaitRoute("oip-load", "POST", route_pattern(f"{model}/load"), partial(_load, inference)),
        WaitRoute(
            "oip-unload", "POST", route_pattern(f"{model}/unload"), partial(_unload, inference)
        ),
    )


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """One version of one model in the repository."""

    name: str
    version: str
    state: str
    reason: str


class _IndexBody(msgspec.Struct, frozen=True):
    ready: bool = False


def repository_index(catalogue: Catalogue, *, ready: bool) -> list[IndexEntry]:
    """Return every version of every model; with ``ready`` only those that answer."""
    entries = [
        IndexEntry(
            model,
            str(status.version),
            {"AVAILABLE": "READY", "LOADING": "LOADING"}.get(status.state, "UNAVAILABLE"),
            status.reason,
        )
        for model in catalogue.names()
        for status in catalogue.status(model)
    ]
    return [entry for entry in entries if not ready or entry.state == "READY"]


def _index(catalogue: Catalogue, request: Request) -> Answer:
    try:
        body = msgspec.json.decode(request.body or b"{}", type=_IndexBody)
    except msgspec.MsgspecError as exc:
        raise Invalid(f"the body is not an index request: {exc}") from exc
    return json_answer(repository_index(catalogue, ready=body.ready))


async def load(inference: Inference, model: str) -> None:
    """Load the champion of a model; its other versions may be loaded again too.

    Raises:
        NotFound: no such model.
        Unavailable: it cannot be loaded, or does not fit.
    """
    inference.catalogue.resolve(model)
    inference.catalogue.release(model)
    slot = inference.catalogue.resolve(model)
    if slot.served is None or not slot.is_current:
        await inference.loading.load(slot)


async def unload(inference: Inference, model: str, *, seconds: float = UNLOAD_SECONDS) -> None:
    """Unload all versions of a model; return when nobody holds them any more.

    It stays so until `load`, whatever is asked for and whatever is promoted, as in Triton.

    Raises:
        NotFound: no such model, or it is unloaded already.
        Unavailable: somebody held it for longer than ``seconds``.
    """
    inference.catalogue.status(model)
    if all(slot.unloaded for slot in inference.catalogue.of(model)):
        raise NotFound(f"model {model!r} is unloaded already")
    for served in inference.catalogue.unload(model):
        if not await inference.loading.unload(inference.memory, served, seconds):
            raise Unavailable(f"model {model!r} is still in use after {seconds:g} s")


async def _load(inference: Inference, request: Request) -> Answer:
    await load(inference, request.path["model"])
    return Answer(b"{}", JSON)


async def _unload(inference: Inference, request: Request) -> Answer:
    await unload(inference, request.path["model"])
    return Answer(b"{}", JSON)


def statistics(
    inference: Inference, model: str | None, version: int | None
) -> list[tuple[str, int, Stats]]:
    """Return the numbers of every version that was loaded, or of one model, or one version.

    Raises:
        NotFound: no such model or version.
    """
    if model is not None:
        inference.catalogue.resolve(model, version=version)
    return [
        (name, number, stats)
        for (name, number), stats in sorted(inference.book.pages.items())
        if model in {None, name} and version in {None, number}
    ]


def _statistics(inference: Inference, request: Request) -> Answer:
    number = request.path.get("version")
    found = statistics(inference, request.path.get("model"), int(number) if number else None)
    return json_answer({"model_stats": [_page(*one) for one in found]})


def _page(name: str, version: int, stats: Stats) -> dict[str, object]:
    never = _duration(Duration())
    told = tally(stats)
    compute_input, compute_infer, compute_output = told.steps.durations
    batches = [(rows, steps.durations) for rows, steps in told.batches]
    return {
        "name": name,
        "version": str(version),
        "last_inference": stats.last_ms,
        "inference_count": told.rows,
        "execution_count": told.infer.count,
        "inference_stats": {
            "success": _duration(told.success),
            "fail": _duration(stats.fail),
            "queue": _duration(told.queued),
            "compute_input": _duration(compute_input),
            "compute_infer": _duration(compute_infer),
            "compute_output": _duration(compute_output),
            "cache_hit": never,
            "cache_miss": never,
        },
        "batch_stats": [
            {
                "batch_size": rows,
                "compute_input": _duration(parts[0]),
                "compute_infer": _duration(parts[1]),
                "compute_output": _duration(parts[2]),
            }
            for rows, parts in batches
        ],
    }


def _duration(duration: Duration) -> dict[str, int]:
    return {"count": duration.count, "ns": duration.ns}
