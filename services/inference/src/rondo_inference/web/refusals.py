"""The only place where an error becomes a status, of HTTP and of gRPC."""

import logging
import uuid
from http import HTTPStatus

from msgspec.structs import replace

from rondo_core.errors import Conflict, Invalid, NotFound, RondoError, RowInvalid, Unavailable
from rondo_core.exports import ExportInvalid
from rondo_inference.contracts.messages import (
    Answer,
    NotAcceptable,
    TooLarge,
    UnsupportedMedia,
    json_answer,
)
from rondo_inference.domain.batching import QueueFull
from rondo_inference.domain.row_faults import RowFault, RowFaults
from rondo_inference.registry.memory import NoRoom
from rondo_inference.web.access import Forbidden, TooMany, Unknown

__all__ = ["failure", "refusal", "status_of"]

log = logging.getLogger(__name__)

STATUSES: tuple[tuple[type[RondoError], HTTPStatus | None], ...] = (
    (TooLarge, HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
    (UnsupportedMedia, HTTPStatus.UNSUPPORTED_MEDIA_TYPE),
    (NotAcceptable, HTTPStatus.NOT_ACCEPTABLE),
    (ExportInvalid, None),  # the version's fault, not the caller's
    (Invalid, HTTPStatus.BAD_REQUEST),
    (Unknown, HTTPStatus.UNAUTHORIZED),
    (Forbidden, HTTPStatus.FORBIDDEN),
    (NotFound, HTTPStatus.NOT_FOUND),
    (Conflict, HTTPStatus.CONFLICT),
    (TooMany, HTTPStatus.TOO_MANY_REQUESTS),
    (QueueFull, HTTPStatus.TOO_MANY_REQUESTS),
    (NoRoom, HTTPStatus.INSUFFICIENT_STORAGE),
    (Unavailable, HTTPStatus.SERVICE_UNAVAILABLE),
)
"""The first family that fits decides."""

LONGEST_TEXT = 2000
"""SageMaker passes an error's body on to the caller; it is kept short."""

_RETRY_SECONDS = "1"
_LATER = {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}


def status_of(exc: RondoError) -> HTTPStatus | None:
    """Return the status of an error; None: it is ours, and the caller is told a reference only."""
    return next((status for family, status in STATUSES if isinstance(exc, family)), None)


def refusal(exc: RondoError) -> Answer:
    """Return the response of an error."""
    status = status_of(exc)
    if status is None:
        return failure(exc)
    body: dict[str, object] = {"error": str(exc)[:LONGEST_TEXT]}
    if isinstance(exc, RowFaults):
        body["rows"] = exc.faults
    elif isinstance(exc, RowInvalid):
        body["rows"] = [RowFault(exc.row, exc.column, exc.rule)]
    answer = json_answer(body, status=status)
    if isinstance(exc, Unknown):
        return replace(answer, headers={"www-authenticate": exc.challenge})
    if status in _LATER:
        seconds = str(max(1, round(exc.retry_seconds))) if isinstance(exc, TooMany) else None
        return replace(answer, headers={"retry-after": seconds or _RETRY_SECONDS})
    return answer


def failure(exc: Exception) -> Answer:
    """Tell the caller a reference, and the log everything."""
    reference = uuid.uuid4().hex
    log.error("request failed", exc_info=exc, extra={"reference": reference, "outcome": "error"})
    text = f"internal error, reference {reference}"
    return json_answer({"error": text}, status=HTTPStatus.INTERNAL_SERVER_ERROR)
