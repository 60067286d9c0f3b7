"""The Open Inference Protocol v2 over HTTP, with Triton's binary tensors, repository, statistics.

Source: kserve/open-inference-protocol (inference_rest.md); Triton's extension_binary_data.md,
extension_model_repository.md, extension_statistics.md.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version as installed

import msgspec

from rondo_core.errors import Invalid, NotFound, Unavailable
from rondo_inference.contracts.media import FileRules, ask_file, is_file
from rondo_inference.contracts.messages import (
    JSON,
    Answer,
    PredictRoute,
    Question,
    Request,
    Route,
    WaitRoute,
    json_answer,
    request_key,
    route_pattern,
    version_headers,
)
from rondo_inference.domain.negotiation import media_type
from rondo_inference.domain.oip import Infer, decode_infer, encode_infer, in_order, raw_infer
from rondo_inference.domain.tensors import TensorInfo, Tensors
from rondo_inference.handlers import Inference, Target, checked
from rondo_inference.registry.catalogue import Catalogue
from rondo_inference.registry.served import ServedModel
from rondo_inference.stats import Duration, Stats

__all__ = [
    "BINARY",
    "EXTENSIONS",
    "PLATFORM",
    "ask_infer",
    "is_vendor_binary",
    "load",
    "repository_index",
    "routes",
    "server_name",
    "statistics",
    "unload",
]

BINARY = "application/octet-stream"
HEADER_LENGTH = "inference-header-content-length"
VENDOR = "application/vnd.sagemaker-triton.binary+json"
_VENDOR_SIZE = re.compile(
    rf"{re.escape(VENDOR)}\s*;\s*json-header-size\s*=\s*(?P<size>[^;\s]*)\s*", re.IGNORECASE
)
EXTENSIONS = ("binary_tensor_data", "model_repository", "statistics")
PLATFORM = "onnxruntime_onnx"
UNLOAD_SECONDS = 60.0
_MODEL = r"/v2/models/(?P<model>[^/]+)(?:/versions/(?P<version>[0-9]{1,18}))?"


def routes(
    inference: Inference, rules: FileRules, ready: Callable[[], bool]
) -> tuple[Route | PredictRoute | WaitRoute, ...]:
    """Return the contract's routes."""
    catalogue, pattern = inference.catalogue, route_pattern
    return (
        PredictRoute(
            name="oip-infer",
            pattern=pattern(f"{_MODEL}/infer"),
            target=_target,
            ask=partial(_ask, rules),
            headers=version_headers,
        ),
        Route("oip-live", "GET", pattern("/v2/health/live"), _live, open=True),
        Route("oip-ready", "GET", pattern("/v2/health/ready"), partial(_ready, ready), open=True),
        Route("oip-server", "GET", pattern("/v2/?"), _server),
        Route("oip-model-ready", "GET", pattern(f"{_MODEL}/ready"), partial(_is_up, catalogue)),
        Route(
            "oip-statistics",
            "GET",
            pattern(
                r"/v2/models(?:/(?P<model>[^/]+)(?:/versions/(?P<version>[0-9]{1,18}))?)?/stats"
            ),
            partial(_statistics, inference),
        ),
        WaitRoute("oip-model", "GET", pattern(_MODEL), partial(_model, inference)),
        Route("oip-index", "POST", pattern("/v2/repository/index"), partial(_index, catalogue)),
        WaitRoute(
            "oip-load",
            "POST",
            pattern("/v2/repository/models/(?P<model>[^/]+)/load"),
            partial(_load, inference),
        ),
        WaitRoute(
            "oip-unload",
            "POST",
            pattern("/v2/repository/models/(?P<model>[^/]+)/unload"),
            partial(_unload, inference),
        ),
    )


def server_name() -> tuple[str, str]:
    """Return name and version of this server."""
    return "rondo-inference", installed("rondo-inference")


def _target(request: Request) -> Target:
    version = request.path.get("version")
    number = int(version) if version else None
    return Target(request.path["model"], version=number, key=request_key(request))


# --- inference ------------------------------------------------------------------------------------


def _ask(rules: FileRules, request: Request, served: ServedModel) -> Question:
    if is_file(media_type(request.header("content-type"))):
        return ask_file(rules, request, served)
    return ask_infer(request, served)


def ask_infer(request: Request, served: ServedModel) -> Question:
    """Read an inference request: JSON, binary, or mixed.

    Raises:
        Invalid: the header's length or the body breaks a rule.
    """
    size, vendor = _header_bytes(request)
    if size == 0:
        infer = raw_infer(request.body, served.signature)
    else:
        infer = decode_infer(request.body, size, served.signature)
    inputs = checked(served, in_order(infer.inputs, served.signature, served.spec))
    return Question(inputs, partial(_answer, infer, served, vendor))


def is_vendor_binary(header: str) -> bool:
    """Whether a content type is that of binary tensors behind SageMaker."""
    return media_type(header) == VENDOR


def _header_bytes(request: Request) -> tuple[int | None, bool]:
    """Return the length of the JSON, and whether it came in the content type."""
    kind = request.header("content-type")
    if is_vendor_binary(kind):
        found = _VENDOR_SIZE.fullmatch(kind.strip())
        return _length("json-header-size", found["size"] if found else ""), True
    text = request.headers.get(HEADER_LENGTH)
    return (None if text is None else _length(HEADER_LENGTH, text)), False


def _length(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 12):  # noqa: PLR2004
        raise Invalid(f"{name} is {text[:20]!r}, which is not a length")
    return int(text)


def _answer(infer: Infer, served: ServedModel, vendor: bool, outputs: Tensors) -> Answer:  # noqa: FBT001  (bound by partial)
    body, size = encode_infer(served.name, served.version, infer, served.signature, outputs)
    if size is None:
        return Answer(body)
    if vendor:
        return Answer(body, f"{VENDOR};json-header-size={size}")
    return Answer(body, BINARY, headers={HEADER_LENGTH: str(size)})


# --- health and metadata --------------------------------------------------------------------------


def _live(_: Request) -> Answer:
    return json_answer({"live": True})


def _ready(ready: Callable[[], bool], _: Request) -> Answer:
    """Clients look at the status; the specification has the key ``live``, others ``ready``."""
    value = ready()
    return json_answer({"live": value, "ready": value}, status=200 if value else 503)


def _server(_: Request) -> Answer:
    name, version = server_name()
    return json_answer({"name": name, "version": version, "extensions": EXTENSIONS})


def _is_up(catalogue: Catalogue, request: Request) -> Answer:
    target = _target(request)
    slot = catalogue.resolve(request.path["model"], version=target.version)
    found = slot.served is not None
    message = {"name": slot.wanted.model, "ready": found}
    return json_answer(message, status=200 if found else 503)


async def _model(inference: Inference, request: Request) -> Answer:
    async with inference.lease(_target(request)) as served:
        return json_answer(
            {
                "name": served.name,
                "versions": [str(one) for one in inference.catalogue.versions(served.name)],
                "platform": PLATFORM,
                "inputs": [_as_json(info) for info in served.signature.inputs],
                "outputs": [_as_json(info) for info in served.signature.outputs],
            }
        )


def _as_json(info: TensorInfo) -> dict[str, object]:
    return {"name": info.name, "datatype": info.datatype, "shape": list(info.shape)}


# --- repository -----------------------------------------------------------------------------------


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
    """Load the champion of a model.

    Raises:
        NotFound: no such model.
        Unavailable: it cannot be loaded, or does not fit.
    """
    slot = inference.catalogue.resolve(model)
    if slot.served is None or not slot.is_current:
        await inference.loading.load(slot)


async def unload(inference: Inference, model: str, *, seconds: float = UNLOAD_SECONDS) -> None:
    """Unload all versions of a model; return when nobody holds them any more.

    Raises:
        NotFound: no such model, or nothing of it is loaded.
        Unavailable: somebody held it for longer than ``seconds``.
    """
    inference.catalogue.status(model)
    loaded = {id(slot.served): slot.served for slot in inference.catalogue.of(model) if slot.served}
    if not loaded:
        raise NotFound(f"model {model!r} is not loaded")
    for served in loaded.values():
        if not await inference.loading.unload(inference.memory, served, seconds):
            raise Unavailable(f"model {model!r} is still in use after {seconds:g} s")


async def _load(inference: Inference, request: Request) -> Answer:
    await load(inference, request.path["model"])
    return Answer(b"{}", JSON)


async def _unload(inference: Inference, request: Request) -> Answer:
    await unload(inference, request.path["model"])
    return Answer(b"{}", JSON)


# --- statistics -----------------------------------------------------------------------------------


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
    return {
        "name": name,
        "version": str(version),
        "last_inference": stats.last_ms,
        "inference_count": stats.rows,
        "execution_count": stats.infer.count,
        "inference_stats": {
            "success": _duration(stats.success),
            "fail": _duration(stats.fail),
            "queue": _duration(stats.queued),
            "compute_input": _duration(stats.compute_input),
            "compute_infer": _duration(stats.compute_infer),
            "compute_output": _duration(stats.compute_output),
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
            for rows, parts in sorted(stats.batches.items())
        ],
    }


def _duration(duration: Duration) -> dict[str, int]:
    return {"count": duration.count, "ns": duration.ns}
