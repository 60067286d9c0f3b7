"""What the gateway answers instead of what was asked for, in the families of `rondo_core.errors`.

RondoError
├── Invalid          never retry
│   ├── Refused          the gateway found a rule broken; ``code`` says which
│   └── Unauthorized     it does not know this client, token, invite or API key
│       └── Forbidden        it knows who asks, who may not have this
├── NotFound
│   └── Missing          it does not know the thing named
├── Conflict
│   └── Contradicted     it holds something else already, or the round is over (``code`` late)
└── Unavailable
    └── Busy             try again later; the SDK does so itself for a while
        └── TooMany          a limit of requests is reached; ``retry_after_seconds`` says when next

All of these are also a `GatewayError`, which has the fields.
"""

from collections.abc import Sequence
from http import HTTPStatus

import httpx
import msgspec

from rondo.refused_rows import RefusedRow, told_rows
from rondo_core.errors import Conflict, Invalid, NotFound, RondoError, Unavailable
from rondo_core.wire import Problem

__all__ = [
    "Busy",
    "Contradicted",
    "Forbidden",
    "GatewayError",
    "LinkRefused",
    "Missing",
    "Refused",
    "TooMany",
    "Unauthorized",
    "error_from",
]

_SHOWN_CHARACTERS = 200


class _Told(msgspec.Struct, frozen=True):
    """What inference answers: what is wrong first, and where that is rows, all that it names."""

    error: str
    rows: tuple[RefusedRow, ...] = ()


class GatewayError(RondoError):
    """An error that was answered over HTTP. As text it has a line more for each of its rows.

    Attributes:
        message: what is wrong, in one line or as somebody else wrote it.
        rows: where that is several rows, what is wrong with the first of them, one by one, for
            a person, who counts from 1.
        code: a short stable word that a program can branch on.
        correlation_id: finds the line in the gateway's log; empty where there is none.
        retry_after_seconds: how long the gateway wants to be left alone, 0 where it did not say.
    """

    def __init__(
        self, problem: Problem, *, retry_after_seconds: float = 0.0, rows: Sequence[str] = ()
    ) -> None:
        where = f" ({problem.code}, correlation id {problem.correlation_id})"
        self.message = problem.message + (where if problem.correlation_id else "")
        self.rows = tuple(rows)
        super().__init__("\n  ".join((self.message, *self.rows)))
        self.code = problem.code
        self.correlation_id = problem.correlation_id
        self.retry_after_seconds = retry_after_seconds


class Refused(GatewayError, Invalid):
    """The request breaks a rule."""


class Unauthorized(GatewayError, Invalid):
    """The token, the invite or the key is not one that the gateway knows."""


class Forbidden(Unauthorized):
    """Whoever asks is known, and may not have what is asked for."""


class Missing(GatewayError, NotFound):
    """The gateway does not know the model, run or round named."""


class Contradicted(GatewayError, Conflict):
    """The gateway holds other content, or the round went on."""


class Busy(GatewayError, Unavailable):
    """The gateway, or what it rests on, cannot answer now."""


class TooMany(Busy):
    """More was asked than this caller, or all callers together, may ask."""


class LinkRefused(Invalid):
    """The store did not take a presigned link; a new one may be taken."""


_FAMILIES: dict[int, type[GatewayError]] = {
    HTTPStatus.UNAUTHORIZED: Unauthorized,
    HTTPStatus.FORBIDDEN: Forbidden,
    HTTPStatus.NOT_FOUND: Missing,
    HTTPStatus.CONFLICT: Contradicted,
    HTTPStatus.TOO_MANY_REQUESTS: TooMany,
}


def error_from(response: httpx.Response, sent: bytes = b"") -> GatewayError:
    """Turn an answer that is an error into the exception of its family.

    Args:
        response: read to its end; a body of another form (a proxy's, for example) is quoted. Rows
            that do not fit are a line each.
        sent: the CSV that was sent, in which rows have lines; empty where it was none.
    """
    status = response.status_code
    rows: list[str] = []
    try:
        problem = msgspec.json.decode(response.content, type=Problem)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        message, rows = _told(response, sent)
        message = message[:_SHOWN_CHARACTERS] or response.reason_phrase
        problem = Problem(code=f"http-{status}", message=message, correlation_id="")
    family = _FAMILIES.get(status, Busy if response.is_server_error else Refused)
    return family(problem, retry_after_seconds=_retry_after(response), rows=rows)


def _told(response: httpx.Response, sent: bytes) -> tuple[str, list[str]]:
    """Return the text of ``{"error": …}``, as inference answers, or of whatever came; and rows."""
    try:
        told = msgspec.json.decode(response.content, type=_Told)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return response.text.strip(), []
    return told_rows(told.rows, sent) if told.rows else (told.error, [])


def _retry_after(response: httpx.Response) -> float:
    """Read the header's form in seconds; its form as a date is not used by any of our doors."""
    text = response.headers.get("Retry-After", "")
    return float(text) if text.isascii() and text.isdigit() else 0.0
