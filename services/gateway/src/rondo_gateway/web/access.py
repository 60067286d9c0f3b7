"""Around every call: a correlation id, one log line, metrics, and the end of unexpected errors."""

import logging
import time
from dataclasses import dataclass, field
from secrets import token_hex

from fastapi import Request, Response
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rondo_core.telemetry import Metrics
from rondo_core.wire import Problem
from rondo_gateway.web.bodies import Json
from rondo_gateway.web.problems import Fault, fault_of

__all__ = ["CORRELATION_HEADER", "AccessLog", "Note", "answer_fault", "note_of"]

log = logging.getLogger(__name__)

CORRELATION_HEADER = "X-Correlation-ID"
SILENT = frozenset({"/healthz", "/readyz", "/metrics"})
LOGGED_PARAMETERS = {"run": "run_id", "round": "round", "attempt": "attempt", "model": "model"}
ERROR_HEADERS = {401: {"WWW-Authenticate": "Bearer"}, 503: {"Retry-After": "1"}}
SERVER_ERROR = 500


@dataclass(slots=True)
class Note:
    """What a call's log line will say beside its route."""

    correlation_id: str
    status: int = 0
    outcome: str = "ok"
    fields: dict[str, object] = field(default_factory=dict)


def note_of(request: Request) -> Note:
    """Return the note of a request; add ``fields`` to have them logged."""
    note: Note = request.state.note
    return note


def answer_fault(request: Request, exc: Exception) -> Response:
    """Answer an error with its `Problem`; the cause of our own faults is for the log alone."""
    note, fault = note_of(request), fault_of(exc)
    if fault.status >= SERVER_ERROR:
        note.fields["error"] = repr(exc)
    return _problem(note, fault)


class AccessLog:
    """The outermost layer. Neither bodies nor queries nor headers are logged."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one call, or pass on what is none (the application's start and stop)."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        note, began = Note(token_hex(8)), time.perf_counter()
        scope.setdefault("state", {})["note"] = note

        async def send_noted(message: Message) -> None:
            if message["type"] == "http.response.start":
                note.status = message["status"]
                MutableHeaders(scope=message)[CORRELATION_HEADER] = note.correlation_id
            await send(message)

        try:
            await self._app(scope, receive, send_noted)
        except Exception as exc:
            log.exception("request failed", extra={"correlation_id": note.correlation_id})
            if note.status:  # half an answer is out: let the server cut the connection
                raise
            await _problem(note, fault_of(exc))(scope, receive, send_noted)
        finally:
            self._tell(scope, note, time.perf_counter() - began)

    def _tell(self, scope: Scope, note: Note, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "unknown")
        if route in SILENT:
            return
        kind = f"{scope['method']} {route}"
        self._metrics.count("rondo_http_requests_total", kind=kind, outcome=note.outcome)
        self._metrics.observe("rondo_http_seconds", seconds, kind=kind, outcome=note.outcome)
        parameters = scope.get("path_params", {})
        named = {LOGGED_PARAMETERS.get(name, name): value for name, value in parameters.items()}
        log.log(
            logging.ERROR if note.status >= SERVER_ERROR else logging.INFO,
            "request handled",
            extra={
                "route": kind,
                "status": note.status,
                "outcome": note.outcome,
                "seconds": round(seconds, 6),
                "correlation_id": note.correlation_id,
                **named,
                **note.fields,
            },
        )


def _problem(note: Note, fault: Fault) -> Response:
    note.outcome = fault.code
    body = Problem(code=fault.code, message=fault.message, correlation_id=note.correlation_id)
    response = Json(body, status_code=fault.status)
    response.headers.update(ERROR_HEADERS.get(fault.status, {}))
    return response
