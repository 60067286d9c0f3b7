"""SageMaker's hosting contract: ``GET /ping``, ``POST /invocations``, ``/execution-parameters``.

JSON in gives TF Serving's JSON, CSV gives CSV, and so on; ``Accept`` decides otherwise. With many
models served, ``X-Amzn-SageMaker-Target-Model`` or ``?model=`` says which.

Of a WebSocket at ``/invocations-bidirectional-stream`` each message is such an invocation.

Source: "Use your own inference code with hosting services" and "… with batch transform"
(docs.aws.amazon.com/sagemaker).
"""

from collections.abc import Callable, Sequence
from functools import partial

from msgspec.structs import replace

from rondo_core.input_bounds import Beyond
from rondo_inference.contracts.media import FileRules, ask_media
from rondo_inference.contracts.messages import (
    Answer,
    Headers,
    PredictRoute,
    Question,
    Request,
    Route,
    json_answer,
    request_key,
    route_pattern,
    version_headers,
)
from rondo_inference.contracts.oip import ask_infer, is_vendor_binary
from rondo_inference.handlers import Target
from rondo_inference.registry.served import ServedModel

__all__ = ["CUSTOM_ATTRIBUTES", "TARGET_MODEL", "ask_invocation", "attributes", "routes"]

TARGET_MODEL = "x-amzn-sagemaker-target-model"
CUSTOM_ATTRIBUTES = "x-amzn-sagemaker-custom-attributes"
"""SageMaker passes this one on to the caller, and strips ours."""

_LONGEST_ATTRIBUTES = 1024
_MIB = 1024 * 1024


def routes(
    rules: FileRules,
    healthy: Callable[[], bool],
    *,
    max_body_bytes: int,
    concurrency: int,
) -> tuple[Route | PredictRoute, ...]:
    """Return the contract's routes.

    Args:
        rules: what files may be.
        healthy: what ``/ping`` tells.
        max_body_bytes: told to batch transform.
        concurrency: told to batch transform: requests that are worth sending at a time.
    """
    parameters = _parameters(max_body_bytes, concurrency)
    return (
        PredictRoute(
            name="sagemaker-invocations",
            pattern=route_pattern("/invocations"),
            target=_target,
            ask=partial(ask_invocation, rules),
            headers=attributes,
        ),
        Route(
            "sagemaker-stream",
            "GET",
            route_pattern("/invocations-bidirectional-stream"),
            _not_a_stream,
            about_server=True,
            stream="/invocations",
        ),
        Route("sagemaker-ping", "GET", route_pattern("/ping"), partial(_ping, healthy), open=True),
        Route(
            "sagemaker-parameters",
            "GET",
            route_pattern("/execution-parameters"),
            lambda _: json_answer(parameters),
            about_server=True,
        ),
    )


def _parameters(max_body_bytes: int, concurrency: int) -> dict[str, int | str]:
    return {
        "MaxConcurrentTransforms": concurrency,
        "BatchStrategy": "MULTI_RECORD",
        "MaxPayloadInMB": max(1, max_body_bytes // _MIB),
    }


def _ping(healthy: Callable[[], bool], _: Request) -> Answer:
    return Answer(status=200 if healthy() else 503)


def _not_a_stream(_: Request) -> Answer:
    """Who asks in plain HTTP is told what is spoken here (RFC 9110, section 15.5.22)."""
    answer = json_answer({"error": "a WebSocket is spoken here"}, status=426)
    return replace(answer, headers={"upgrade": "websocket", "connection": "upgrade"})


def _target(request: Request) -> Target:
    name = request.header(TARGET_MODEL) or request.parameter("model") or None
    label = request.parameter("label")
    return Target(name, label=label, key=request_key(request))


def attributes(served: ServedModel, beyond: Sequence[Beyond] = ()) -> Headers:
    """Name the version that answers, also where SageMaker strips our headers.

    There numbers beyond bounds are only counted.
    """
    told = f"rondo-model={served.name}; rondo-version={served.version}; rondo-run={served.lineage}"
    if beyond:
        told += f"; rondo-warnings={sum(one.rows for one in beyond)}"
    plain = told.encode("ascii", "replace").decode()[:_LONGEST_ATTRIBUTES]
    return {**version_headers(served, beyond), CUSTOM_ATTRIBUTES: plain}


def ask_invocation(rules: FileRules, request: Request, served: ServedModel) -> Question:
    """Read a body of any type that SageMaker's callers send."""
    if is_vendor_binary(request.header("content-type")):
        return ask_infer(request, served)
    return ask_media(rules, request, served)
