"""TensorFlow Serving's REST API: predict and model status.

Source: RESTful API (tensorflow.org/tfx/serving/api_rest) and http_rest_api_util.cc.
"""

from functools import partial

from rondo_core.errors import NotFound
from rondo_core.keys import CHAMPION
from rondo_inference.contracts.messages import (
    Answer,
    PredictRoute,
    Request,
    Route,
    json_answer,
    route_pattern,
    version_headers,
)
from rondo_inference.domain.answers import tensor_answer
from rondo_inference.domain.predict_body import decode_predict_body
from rondo_inference.handlers import Predict
from rondo_inference.registry.catalogue import Catalogue, VersionStatus
from rondo_inference.registry.served import ServedModel

__all__ = ["routes"]

_MODEL = (
    r"/v1/models/(?P<model>[^/:]+)(?:/versions/(?P<version>[0-9]{1,18})|/labels/(?P<label>[^/:]+))?"
)
"""A label is an alias; without version or label the champion answers."""


def routes(catalogue: Catalogue, predict: Predict) -> tuple[Route | PredictRoute, ...]:
    """Return the contract's routes."""
    return (
        PredictRoute(
            name="tfs-predict",
            pattern=route_pattern(f"{_MODEL}:predict"),
            find=partial(_find, catalogue),
            answer=partial(_predict, predict),
            headers=version_headers,
        ),
        Route("tfs-status", "GET", route_pattern(_MODEL), partial(_status, catalogue)),
    )


def _find(catalogue: Catalogue, request: Request) -> ServedModel:
    version = request.path.get("version")
    return catalogue.find(
        request.path["model"],
        label=request.path.get("label") or CHAMPION,
        version=int(version) if version else None,
    )


def _predict(predict: Predict, request: Request, served: ServedModel) -> Answer:
    instances = decode_predict_body(request.body, served.spec)
    outputs = predict(served, instances.inputs)
    return Answer(tensor_answer(outputs, by_column=instances.by_column))


def _status(catalogue: Catalogue, request: Request) -> Answer:
    model, version = request.path["model"], request.path.get("version")
    statuses = catalogue.status(model)
    if version:
        statuses = [status for status in statuses if status.version == int(version)]
    elif label := request.path.get("label"):
        statuses = [s for s in statuses if s.version == catalogue.find(model, label=label).version]
    if not statuses:
        raise NotFound(f"model {model!r} has no version {version}")
    return json_answer({"model_version_status": [_as_json(status) for status in statuses]})


def _as_json(status: VersionStatus) -> dict[str, object]:
    code = "FAILED_PRECONDITION" if status.reason else "OK"
    return {
        "version": str(status.version),
        "state": status.state,
        "status": {"error_code": code, "error_message": status.reason},
    }
