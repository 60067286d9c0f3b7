"""TensorFlow Serving's REST API: predict, classify, regress, model status and metadata.

Files are read here too: pictures, CSV, arrays and forms, by their content type; every other body is
JSON, whatever its content type says.

Source: RESTful API (tensorflow.org/tfx/serving/api_rest) and http_rest_api_util.cc.
"""

from collections.abc import Callable, Sequence
from functools import partial

from rondo_core.errors import Invalid, NotFound
from rondo_core.keys import CHAMPION
from rondo_core.output_schema import Classes
from rondo_inference.contracts.kinds import sends_file
from rondo_inference.contracts.media import FileRules, ask_file, ask_json, file_question, wanted
from rondo_inference.contracts.messages import (
    JSON,
    Answer,
    PredictRoute,
    Question,
    Request,
    Route,
    json_answer,
    request_key,
    route_pattern,
    version_headers,
)
from rondo_inference.domain.examples import decode_examples
from rondo_inference.domain.predict_body import SIGNATURE
from rondo_inference.domain.tensor_json import encode_json
from rondo_inference.domain.tensors import TensorInfo, Tensors
from rondo_inference.handlers import Target
from rondo_inference.registry.catalogue import Catalogue
from rondo_inference.registry.served import ServedModel
from rondo_inference.registry.slots import VersionStatus

__all__ = ["routes"]

_MODEL = (
    r"/v1/models/(?P<model>[^/:]+)(?:/versions/(?P<version>[0-9]{1,18})|/labels/(?P<label>[^/:]+))?"
)
"""A label is an alias; without version or label the champion answers."""

_DTYPES = {
    "BOOL": "DT_BOOL",
    "UINT8": "DT_UINT8",
    "UINT16": "DT_UINT16",
    "UINT32": "DT_UINT32",
    "UINT64": "DT_UINT64",
    "INT8": "DT_INT8",
    "INT16": "DT_INT16",
    "INT32": "DT_INT32",
    "INT64": "DT_INT64",
    "FP16": "DT_HALF",
    "FP32": "DT_FLOAT",
    "FP64": "DT_DOUBLE",
    "BYTES": "DT_STRING",
}
_METHOD = "tensorflow/serving/predict"


def routes(catalogue: Catalogue, rules: FileRules) -> tuple[Route | PredictRoute, ...]:
    """Return the contract's routes."""
    verbs: dict[str, Callable[[Request, ServedModel], Question]] = {
        "predict": partial(_predict, rules),
        "classify": partial(_classify, rules),
        "regress": partial(_regress, rules),
    }
    return (
        *(
            PredictRoute(
                name=f"tfs-{verb}",
                pattern=route_pattern(f"{_MODEL}:{verb}"),
                target=_target,
                ask=ask,
                headers=version_headers,
            )
            for verb, ask in verbs.items()
        ),
        Route("tfs-status", "GET", route_pattern(_MODEL), partial(_status, catalogue)),
        Route("tfs-nameless", "GET", route_pattern("/v1/models/?"), _nameless, about_server=True),
        Route(
            "tfs-metadata",
            "GET",
            route_pattern(f"{_MODEL}/metadata"),
            partial(_metadata, catalogue),
        ),
    )


def _target(request: Request) -> Target:
    version = request.path.get("version")
    return Target(
        request.path["model"],
        label=request.path.get("label"),
        version=int(version) if version else None,
        key=request_key(request),
    )


def _predict(rules: FileRules, request: Request, served: ServedModel) -> Question:
    if sends_file(request):
        return ask_file(rules, request, served)
    return ask_json(rules, request, served)


def _classify(rules: FileRules, request: Request, served: ServedModel) -> Question:
    if served.spec is None or not isinstance(served.spec.output, Classes):
        raise Invalid(f"model {served.name!r} gives no classes; use :predict")
    answer = partial(_classes, served.spec.output.labels)
    return _examples(rules, request, served, answer)


def _classes(labels: Sequence[str], outputs: Tensors) -> Answer:
    rows = [[list(pair) for pair in zip(labels, row, strict=True)] for row in outputs[0].tolist()]
    return Answer(encode_json({"results": rows}))


def _regress(rules: FileRules, request: Request, served: ServedModel) -> Question:
    if served.spec is None or isinstance(served.spec.output, Classes):
        raise Invalid(f"model {served.name!r} gives no number; use :predict")
    return _examples(rules, request, served, _numbers)


def _numbers(outputs: Tensors) -> Answer:
    return Answer(encode_json({"results": outputs[0][:, 0].tolist()}))


def _examples(
    rules: FileRules, request: Request, served: ServedModel, answer: Callable[[Tensors], Answer]
) -> Question:
    """Read examples, or a file of them; the answer is JSON."""
    wanted(request.header("accept"), (JSON,))
    if sends_file(request):
        return file_question(rules, request, served, answer)
    if served.spec is None:
        raise AssertionError
    return Question.of(served, (decode_examples(request.body, served.spec),), answer)


def _nameless(_: Request) -> Answer:
    raise Invalid("Missing model name in request.")


def _statuses(catalogue: Catalogue, request: Request) -> list[VersionStatus]:
    model, version = request.path["model"], request.path.get("version")
    statuses = catalogue.status(model)
    if version:
        statuses = [status for status in statuses if status.version == int(version)]
    elif label := request.path.get("label"):
        slot = catalogue.resolve(model, label=label)
        number = slot.served.version if slot.served else slot.wanted.model_version
        statuses = [status for status in statuses if status.version == number]
    if not statuses:
        raise NotFound(f"model {model!r} has no version {version}")
    return statuses


def _status(catalogue: Catalogue, request: Request) -> Answer:
    statuses = _statuses(catalogue, request)
    return json_answer({"model_version_status": [_as_json(status) for status in statuses]})


def _as_json(status: VersionStatus) -> dict[str, object]:
    """An end without an error is one that somebody asked for (get_model_status.proto)."""
    code, text = ("FAILED_PRECONDITION", status.reason) if status.failed else ("OK", "")
    return {
        "version": str(status.version),
        "state": status.state,
        "status": {"error_code": code, "error_message": text},
    }


def _metadata(catalogue: Catalogue, request: Request) -> Answer:
    target = _target(request)
    served = catalogue.find(
        request.path["model"], label=target.label or CHAMPION, version=target.version
    )
    signature = {
        "inputs": {info.name: _tensor_info(info) for info in served.signature.inputs},
        "outputs": {info.name: _tensor_info(info) for info in served.signature.outputs},
        "method_name": _METHOD,
    }
    return json_answer(
        {
            "model_spec": {
                "name": served.name,
                "signature_name": "",
                "version": str(served.version),
            },
            "metadata": {"signature_def": {"signature_def": {SIGNATURE: signature}}},
        }
    )


def _tensor_info(info: TensorInfo) -> dict[str, object]:
    dims = [{"size": str(side), "name": ""} for side in info.shape]
    return {
        "dtype": _DTYPES[info.datatype],
        "tensor_shape": {"dim": dims, "unknown_rank": False},
        "name": f"{SIGNATURE}_{info.name}:0",
    }
