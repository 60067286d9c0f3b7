"""AWS Lambda's invoke call, so that code that calls a function can call a model.

The function's name is the model's, its qualifier a version's number or a label. The payload is what
``:predict`` takes, and so is the answer.

Source: Lambda API reference, "Invoke" (API version 2015-03-31).
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from rondo_core.errors import Invalid, RondoError
from rondo_core.exports import ExportInvalid
from rondo_core.input_bounds import Beyond
from rondo_inference.contracts.media import FileRules, ask_media
from rondo_inference.contracts.messages import (
    Answer,
    Headers,
    PredictRoute,
    Question,
    Request,
    TooLarge,
    json_answer,
    request_key,
    route_pattern,
    version_headers,
)
from rondo_inference.domain.tensors import Tensors
from rondo_inference.handlers import Target
from rondo_inference.registry.served import ServedModel

__all__ = ["FUNCTION_ERROR", "routes"]

FUNCTION_ERROR = "x-amz-function-error"
_TYPE = "x-amz-invocation-type"
_MOST_BYTES = {"RequestResponse": 6 * 1024 * 1024, "DryRun": 6 * 1024 * 1024}


def routes(rules: FileRules) -> tuple[PredictRoute, ...]:
    """Return the contract's routes."""
    return (
        PredictRoute(
            name="lambda-invoke",
            pattern=route_pattern("/2015-03-31/functions/(?P<model>[^/]+)/invocations"),
            target=_target,
            ask=partial(_ask, rules),
            headers=_headers,
            refusal=_refusal,
        ),
    )


def _target(request: Request) -> Target:
    name, _, qualifier = request.path["model"].partition(":")
    qualifier = request.parameter("Qualifier") or qualifier
    version = int(qualifier) if qualifier.isascii() and qualifier.isdigit() else None
    label = None if version is not None or qualifier in {"", "$LATEST"} else qualifier
    return Target(name, label=label, version=version, key=request_key(request))


def _headers(served: ServedModel, beyond: Sequence[Beyond]) -> Headers:
    return {**version_headers(served, beyond), "x-amz-executed-version": str(served.version)}


def _ask(rules: FileRules, request: Request, served: ServedModel) -> Question:
    kind = request.header(_TYPE) or "RequestResponse"
    most = _MOST_BYTES.get(kind)
    if most is None:
        raise Invalid(f"invocation type {kind!r} is not one of {', '.join(_MOST_BYTES)}")
    if len(request.body) > most:
        raise TooLarge(f"the payload is longer than {most} bytes")
    question = ask_media(rules, request, served)
    if kind == "DryRun":
        return replace(question, answer=_nothing)
    return question


def _refusal(exc: RondoError) -> Answer | None:
    """What the function finds wrong is a success of the call, with a header that says so."""
    if not isinstance(exc, Invalid) or isinstance(exc, TooLarge | ExportInvalid):
        return None
    answer = json_answer({"errorMessage": str(exc), "errorType": type(exc).__name__})
    return replace(answer, headers={FUNCTION_ERROR: "Unhandled"})


def _nothing(_: Tensors) -> Answer:
    return Answer(status=204)
