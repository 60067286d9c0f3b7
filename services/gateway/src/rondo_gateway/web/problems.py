"""The one place where an error becomes an HTTP status and a body.

Texts of refusals are meant for the caller. Of everything else the caller gets a code and the
correlation id, by which the log line is found.
"""

from http import HTTPStatus
from typing import NamedTuple

from starlette.exceptions import HTTPException

from rondo_core.errors import (
    Conflict,
    HeaderInvalid,
    Invalid,
    LayoutMismatch,
    NotFound,
    SpecInvalid,
    Unavailable,
)
from rondo_gateway.domain.refusals import (
    Forbidden,
    Missing,
    Refusal,
    Refused,
    Unauthenticated,
    Unfit,
)

__all__ = ["INTERNAL", "BodyTooLarge", "Fault", "MalformedJson", "fault_of"]


class MalformedJson(Refusal, Invalid):
    """The body is not JSON at all."""


class BodyTooLarge(Refusal, Invalid):
    """The body is longer than the call allows."""


class Fault(NamedTuple):
    """What a caller is told."""

    status: HTTPStatus
    code: str
    message: str


INTERNAL = Fault(
    HTTPStatus.INTERNAL_SERVER_ERROR,
    "internal",
    "an unexpected error; the operator finds it by the correlation id",
)

_REFUSALS: dict[type[Refusal], HTTPStatus] = {
    MalformedJson: HTTPStatus.BAD_REQUEST,
    Unauthenticated: HTTPStatus.UNAUTHORIZED,
    Forbidden: HTTPStatus.FORBIDDEN,
    Missing: HTTPStatus.NOT_FOUND,
    Refused: HTTPStatus.CONFLICT,
    BodyTooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    Unfit: HTTPStatus.UNPROCESSABLE_ENTITY,
}

_FAMILIES: tuple[tuple[type[Exception], Fault], ...] = (
    (NotFound, Fault(HTTPStatus.NOT_FOUND, "not-found", "no such thing")),
    (
        Conflict,
        Fault(HTTPStatus.CONFLICT, "conflict", "something else was written meanwhile; read again"),
    ),
    (
        Unavailable,
        Fault(HTTPStatus.SERVICE_UNAVAILABLE, "unavailable", "try again in a moment"),
    ),
)


def fault_of(exc: Exception) -> Fault:
    """Say what a caller is told of an error."""
    match exc:
        case Refusal():
            return Fault(_REFUSALS[type(exc)], exc.code, exc.rule)
        case SpecInvalid():
            path = exc.path.replace("$", "$.spec", 1)
            return _unfit("invalid-spec", f"{exc.rule} - at `{path}`")
        case HeaderInvalid() | LayoutMismatch():
            return _unfit("invalid-header", f"{exc} - at `$.header`")
        case HTTPException():
            status = HTTPStatus(exc.status_code)
            return Fault(status, status.phrase.lower().replace(" ", "-"), status.description)
    return next((fault for family, fault in _FAMILIES if isinstance(exc, family)), INTERNAL)


def _unfit(code: str, message: str) -> Fault:
    return Fault(HTTPStatus.UNPROCESSABLE_ENTITY, code, message)
