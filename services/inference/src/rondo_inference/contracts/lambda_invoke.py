"""AWS Lambda's invoke call, so that code that calls a function can call a model.

The function's name is the model's, its qualifier a version's number or a label; both may be in an
ARN. The payload is what ``:predict`` takes, JSON unless its content type is that of a file, and so
is the answer.

Source: Lambda API reference, "Invoke" (API version 2015-03-31).
"""

import re
from collections.abc import Sequence
from functools import partial

import msgspec
from msgspec.structs import replace

from rondo_core.errors import Invalid, RondoError
from rondo_core.exports import ExportInvalid
from rondo_core.input_bounds import Beyond
from rondo_inference.contracts.kinds import sends_file
from rondo_inference.contracts.media import FileRules, ask_file, ask_json
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
_MEBIBYTE = 1024 * 1024
_MOST_BYTES = {"RequestResponse": 6 * _MEBIBYTE, "Event": _MEBIBYTE, "DryRun": 6 * _MEBIBYTE}
_ACCEPTED, _FAILED = 202, 500

_FUNCTION = re.compile(
    r"(?:(?:arn:aws[a-z-]*:lambda:[a-z0-9-]+:)?[0-9]{12}:function:)?"
    r"(?P<name>[^:]*)(?::(?P<qualifier>[^:]*))?"
)
"""A name, a partial ARN or a whole one, each with a qualifier or without."""

_ERROR_TYPES = {
    400: "InvalidParameterValueException",
    401: "AccessDeniedException",
    403: "AccessDeniedException",
    404: "ResourceNotFoundException",
    413: "RequestTooLargeException",
    415: "UnsupportedMediaTypeException",
    429: "TooManyRequestsException",
}


class _Uncallable(Invalid):
    """The call is wrong, whatever the function would find of its payload."""


class _Unheard(Invalid):
    """The function finds the payload of an event wrong, which nobody waits to hear."""


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
            refused=_refused,
        ),
    )


def _target(request: Request) -> Target:
    match = _FUNCTION.fullmatch(request.path["model"])
    if match is None:
        raise Invalid(f"function {request.path['model']!r} is no name and no ARN of a function")
    name, derived = match["name"], match["qualifier"] or ""
    qualifier = request.parameter("Qualifier") or derived
    if derived not in {"", qualifier}:
        raise Invalid(f"qualifier {qualifier!r} is not that of the function, {derived!r}")
    version = int(qualifier) if qualifier.isascii() and qualifier.isdigit() else None
    label = None if version is not None or qualifier in {"", "$LATEST"} else qualifier
    return Target(name, label=label, version=version, key=request_key(request))


def _headers(served: ServedModel, beyond: Sequence[Beyond]) -> Headers:
    return {**version_headers(served, beyond), "x-amz-executed-version": str(served.version)}


def _ask(rules: FileRules, request: Request, served: ServedModel) -> Question:
    kind = request.header(_TYPE) or "RequestResponse"
    most = _MOST_BYTES.get(kind)
    if most is None:
        raise _Uncallable(f"invocation type {kind!r} is not one of {', '.join(_MOST_BYTES)}")
    if len(request.body) > most:
        raise TooLarge(f"the payload is longer than {most} bytes")
    read = ask_file if sends_file(request) else ask_json
    try:
        question = read(rules, request, served)
    except Invalid as exc:
        if kind != "Event":
            raise
        raise _Unheard from exc
    if kind == "RequestResponse":
        return question
    return replace(question, answer=_dry if kind == "DryRun" else _accepted)


def _refusal(exc: RondoError) -> Answer | None:
    """What the function finds wrong is a success of the call, with a header that says so."""
    if not isinstance(exc, Invalid) or isinstance(exc, TooLarge | ExportInvalid | _Uncallable):
        return None
    if isinstance(exc, _Unheard):
        return Answer(status=_ACCEPTED)
    answer = json_answer({"errorMessage": str(exc), "errorType": type(exc).__name__})
    return replace(answer, headers={FUNCTION_ERROR: "Unhandled"})


def _refused(answer: Answer) -> Answer:
    """Say why a call is refused as the AWS SDKs read it: else their users see an empty text.

    Source: botocore's ``rest-json`` parser: ``message`` or ``Message`` of the body, and the header
    ``x-amzn-errortype``.
    """
    kind = _ERROR_TYPES.get(answer.status, "ServiceException")
    body = msgspec.json.decode(answer.body, type=dict[str, msgspec.Raw])
    told = {"Type": "Service" if answer.status >= _FAILED else "User", "Message": body["error"]}
    headers = {**answer.headers, "x-amzn-errortype": kind}
    return replace(json_answer(body | told, status=answer.status), headers=headers)


def _dry(_: Tensors) -> Answer:
    return Answer(status=204)


def _accepted(_: Tensors) -> Answer:
    return Answer(status=_ACCEPTED)
