"""SageMaker's hosting contract for one container: ``GET /ping`` and ``POST /invocations``.

JSON in gives TF Serving's JSON. CSV in gives CSV, or one labelled JSON object per row where the
caller accepts JSON. With several models served, ``X-Amzn-SageMaker-Target-Model`` or ``?model=``
says which.

Source: "Use your own inference code with hosting services" (docs.aws.amazon.com/sagemaker).
"""

from collections.abc import Callable
from functools import partial

from rondo_inference.contracts import files
from rondo_inference.contracts.messages import (
    CSV,
    JSON,
    Answer,
    Headers,
    NotAcceptable,
    PredictRoute,
    Request,
    Route,
    UnsupportedMedia,
    media_type,
    route_pattern,
    version_headers,
)
from rondo_inference.domain.answers import tensor_answer
from rondo_inference.domain.predict_body import decode_predict_body
from rondo_inference.handlers import Predict
from rondo_inference.registry.catalogue import Catalogue
from rondo_inference.registry.served import ServedModel

__all__ = ["CUSTOM_ATTRIBUTES", "TARGET_MODEL", "routes"]

TARGET_MODEL = "x-amzn-sagemaker-target-model"
CUSTOM_ATTRIBUTES = "x-amzn-sagemaker-custom-attributes"
"""SageMaker passes this one on to the caller, and strips ours."""


def routes(
    catalogue: Catalogue, predict: Predict, ready: Callable[[], bool]
) -> tuple[Route | PredictRoute, ...]:
    """Return the contract's routes."""
    return (
        PredictRoute(
            name="sagemaker-invocations",
            pattern=route_pattern("/invocations"),
            find=partial(_find, catalogue),
            answer=partial(_invoke, predict),
            headers=_headers,
        ),
        Route("sagemaker-ping", "GET", route_pattern("/ping"), partial(_ping, ready)),
    )


def _ping(ready: Callable[[], bool], _: Request) -> Answer:
    return Answer(status=200 if ready() else 503)


def _find(catalogue: Catalogue, request: Request) -> ServedModel:
    name = request.headers.get(TARGET_MODEL) or request.parameter("model")
    return catalogue.find(name) if name else catalogue.only()


def _headers(served: ServedModel) -> Headers:
    told = f"rondo-model={served.name}; rondo-version={served.version}; rondo-run={served.lineage}"
    return {**version_headers(served), CUSTOM_ATTRIBUTES: told}


def _invoke(predict: Predict, request: Request, served: ServedModel) -> Answer:
    kind = media_type(request.headers.get("content-type", "")) or JSON
    if kind not in {CSV, JSON}:
        raise UnsupportedMedia(f"{kind} is not read here; send {JSON} or {CSV}")
    wanted = media_type(request.headers.get("accept", ""))
    if wanted in {"", "*/*"}:
        wanted = kind
    if wanted not in {CSV, JSON}:
        raise NotAcceptable(f"{wanted} is not written here; accept {JSON} or {CSV}")
    if kind == CSV:
        return files.predict_csv(predict, request.body, served, wanted=wanted)
    instances = decode_predict_body(request.body, served.spec)
    outputs = predict(served, instances.inputs)
    if wanted == CSV:
        return files.as_csv(served, outputs)
    return Answer(tensor_answer(outputs, by_column=instances.by_column))
