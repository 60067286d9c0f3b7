"""The Open Inference Protocol v2 over HTTP, with Triton's binary tensors.

Source: kserve/open-inference-protocol (inference_rest.md); Triton's extension_binary_data.md.
"""

import re
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from importlib.metadata import version as installed

from rondo_core.errors import Invalid
from rondo_core.input_bounds import Beyond
from rondo_inference.checks import beyond_bounds, checked
from rondo_inference.contracts.kinds import sends_file
from rondo_inference.contracts.media import FileRules, ask_file, wanted
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
from rondo_inference.contracts.warnings import PARAMETER, warnings_text
from rondo_inference.domain.named_inputs import in_order
from rondo_inference.domain.negotiation import media_type
from rondo_inference.domain.oip import Infer, decode_infer, raw_infer
from rondo_inference.domain.oip_answer import Told, encode_infer
from rondo_inference.domain.tensors import TensorInfo, Tensors
from rondo_inference.handlers import Inference, Target
from rondo_inference.registry.catalogue import Catalogue
from rondo_inference.registry.served import ServedModel

__all__ = [
    "BINARY",
    "EXTENSIONS",
    "ask_infer",
    "is_vendor_binary",
    "platform_of",
    "routes",
    "server_name",
]

BINARY = "application/octet-stream"
HEADER_LENGTH = "inference-header-content-length"
VENDOR = "application/vnd.sagemaker-triton.binary+json"
_VENDOR_SIZE = re.compile(
    rf"{re.escape(VENDOR)}\s*;\s*json-header-size\s*=\s*(?P<size>[^;\s]*)\s*", re.IGNORECASE
)
EXTENSIONS = ("binary_tensor_data", "model_repository", "statistics")
_PLATFORMS = {
    "onnxruntime": "onnxruntime_onnx",
    "litert": "litert_tflite",
    "tensorflow": "tensorflow_savedmodel",
}
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
            pictures_in_json=False,
        ),
        Route("oip-live", "GET", pattern("/v2/health/live"), _live, open=True),
        Route(
            "oip-ready",
            "GET",
            pattern("/v2/health/ready"),
            partial(_ready, catalogue, ready),
            open=True,
        ),
        Route("oip-server", "GET", pattern("/v2/?"), _server, about_server=True),
        Route("oip-model-ready", "GET", pattern(f"{_MODEL}/ready"), partial(_is_up, catalogue)),
        WaitRoute("oip-model", "GET", pattern(_MODEL), partial(_model, inference)),
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
    if sends_file(request):
        return ask_file(rules, request, served)
    return ask_infer(request, served)


def ask_infer(request: Request, served: ServedModel) -> Question:
    """Read an inference request: JSON, binary, or mixed.

    Raises:
        NotAcceptable: neither JSON nor a form of binary tensors is accepted.
        Invalid: the header's length or the body breaks a rule.
    """
    said = request.headers
    size, vendor = _forms(
        said.get("accept", ""), said.get("content-type", ""), said.get(HEADER_LENGTH)
    )
    if size == 0:
        infer = raw_infer(request.body, served.signature)
    else:
        infer = decode_infer(request.body, size, served.signature)
    inputs = checked(served, in_order(infer.inputs, served.signature, served.spec))
    beyond = beyond_bounds(served, inputs)
    return Question(inputs, partial(_answer, infer, served, beyond, vendor=vendor), beyond)


def is_vendor_binary(header: str) -> bool:
    """Whether a content type is that of binary tensors behind SageMaker."""
    return media_type(header) == VENDOR


@lru_cache(maxsize=256)
def _forms(accept: str, kind: str, length: str | None) -> tuple[int | None, bool]:
    """Return the length of the JSON, and whether it came in the content type."""
    wanted(accept, (JSON, BINARY, VENDOR))
    if is_vendor_binary(kind):
        found = _VENDOR_SIZE.fullmatch(kind.strip())
        return _length("json-header-size", found["size"] if found else ""), True
    return (None if length is None else _length(HEADER_LENGTH, length)), False


def _length(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 12):  # noqa: PLR2004
        raise Invalid(f"{name} is {text[:20]!r}, which is not a length")
    return int(text)


def _answer(
    infer: Infer, served: ServedModel, beyond: Sequence[Beyond], outputs: Tensors, *, vendor: bool
) -> Answer:
    parameters = ((PARAMETER, warnings_text(beyond)),) if beyond else ()
    told = Told(served.name, str(served.version), parameters)
    body, size = encode_infer(told, infer, served.signature, outputs)
    if size is None:
        return Answer(body)
    if vendor:
        return Answer(body, f"{VENDOR};json-header-size={size}")
    return Answer(body, BINARY, headers={HEADER_LENGTH: str(size)})


# --- health and metadata --------------------------------------------------------------------------


def _live(_: Request) -> Answer:
    return json_answer({"live": True})


def _ready(catalogue: Catalogue, ready: Callable[[], bool], _: Request) -> Answer:
    """All models answer. Clients look at the status; the key is ``live`` in the specification."""
    value = ready() and catalogue.complete
    return json_answer({"live": value, "ready": value}, status=200 if value else 503)


def platform_of(served: ServedModel) -> str:
    """Return what computes a lone row, as ``<project>_<format>``."""
    return _PLATFORMS[served.choice.of_one_row]


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
                "platform": platform_of(served),
                "inputs": [_as_json(info) for info in served.signature.inputs],
                "outputs": [_as_json(info) for info in served.signature.outputs],
            }
        )


def _as_json(info: TensorInfo) -> dict[str, object]:
    return {"name": info.name, "datatype": info.datatype, "shape": list(info.shape)}
