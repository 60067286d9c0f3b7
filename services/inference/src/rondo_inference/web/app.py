"""The ASGI application: find the route, read the body, answer, and say what went wrong."""

import asyncio
import logging
import time
import uuid
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any

from rondo_core.errors import Conflict, Invalid, NotFound, RondoError, Unavailable
from rondo_core.exports import ExportInvalid
from rondo_core.telemetry import Metrics
from rondo_inference.contracts.messages import (
    Answer,
    NotAcceptable,
    PredictRoute,
    Request,
    Route,
    TooLarge,
    UnsupportedMedia,
    json_answer,
)

__all__ = ["HttpApp"]

log = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

STATUSES: tuple[tuple[type[RondoError], HTTPStatus | None], ...] = (
    (TooLarge, HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
    (UnsupportedMedia, HTTPStatus.UNSUPPORTED_MEDIA_TYPE),
    (NotAcceptable, HTTPStatus.NOT_ACCEPTABLE),
    (ExportInvalid, None),  # the version's fault, not the caller's
    (Invalid, HTTPStatus.BAD_REQUEST),
    (NotFound, HTTPStatus.NOT_FOUND),
    (Conflict, HTTPStatus.CONFLICT),
    (Unavailable, HTTPStatus.SERVICE_UNAVAILABLE),
)
"""The first family that fits decides; the only place where an error becomes a status."""

DISCARDED_BODIES = 4
"""So many times the allowed length is read and forgotten before a caller is cut off."""

LONGEST_TEXT = 2000
"""SageMaker passes an error's body on to the caller; it is kept short."""


class Disconnected(Exception):
    """The caller went away before the body was there; nobody waits for an answer."""


@dataclass(frozen=True, slots=True)
class HttpApp:
    """Plain ASGI: no framework stands between a request and its model.

    Attributes:
        routes: of all contracts; the first that matches answers.
        metrics: counts and times every request.
        workers: threads that predict, so that health is answered at once whatever they compute.
        max_body_bytes: longer bodies are refused.
        draining: whether the process is about to end; then connections are closed after the answer.
    """

    routes: Sequence[Route | PredictRoute]
    metrics: Metrics
    workers: Executor
    max_body_bytes: int
    draining: Callable[[], bool]

    def __post_init__(self) -> None:
        """Start the gauge that replicas are scaled on at zero, not at the first prediction."""
        self.metrics.gauge("rondo_predictions_in_flight", 0)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        start, name = time.perf_counter(), "unknown"
        try:
            route, path = self._route(scope["method"], scope["path"])
            if isinstance(route, Answer):
                answer = route
            else:
                name = route.name
                answer = await self._answer(route, await self._request(scope, receive, path))
        except Disconnected:
            self.metrics.count("rondo_http_requests_total", kind=name, outcome="disconnected")
            return
        except RondoError as exc:
            answer = _refusal(exc)
        except Exception as exc:  # noqa: BLE001  (the outermost loop; `_failure` logs it)
            answer = _failure(exc)
        await self._send(send, answer)
        self.metrics.count("rondo_http_requests_total", kind=name, outcome=str(answer.status))
        self.metrics.observe("rondo_http_seconds", time.perf_counter() - start, kind=name)

    def _route(
        self, method: str, path: str
    ) -> tuple[Route | PredictRoute | Answer, dict[str, str]]:
        allowed = []
        for route in self.routes:
            if match := route.pattern.fullmatch(path):
                if route.method == method:
                    return route, {key: text for key, text in match.groupdict().items() if text}
                allowed.append(route.method)
        if allowed:
            text = f"{method} is not allowed here"
            refused = json_answer({"error": text}, status=HTTPStatus.METHOD_NOT_ALLOWED)
            return replace(refused, headers={"allow": ", ".join(allowed)}), {}
        raise NotFound(f"no such path: {path}")

    async def _request(self, scope: Scope, receive: Receive, path: dict[str, str]) -> Request:
        headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        announced = headers.get("content-length", "")
        if announced.isdigit() and int(announced) > self.max_body_bytes:
            if "expect" not in headers:  # a caller that waits for our word sends nothing now
                await self._discard(receive)
            raise self._too_large()
        body = await self._body(receive)
        return Request(path, headers, scope["query_string"].decode("latin-1"), body)

    async def _body(self, receive: Receive) -> bytes:
        parts, size, more = [], 0, True
        while more:
            part, more = await _part(receive)
            parts.append(part)
            size += len(part)
            if size > self.max_body_bytes:
                if more:
                    await self._discard(receive)
                raise self._too_large()
        return b"".join(parts)

    async def _discard(self, receive: Receive) -> None:
        """Let the caller finish sending, within bounds: who is cut off sees no answer."""
        size, more = 0, True
        while more and size <= DISCARDED_BODIES * self.max_body_bytes:
            part, more = await _part(receive)
            size += len(part)

    def _too_large(self) -> TooLarge:
        return TooLarge(f"the body is longer than {self.max_body_bytes} bytes")

    async def _answer(self, route: Route | PredictRoute, request: Request) -> Answer:
        if isinstance(route, Route):
            return route.answer(request)
        served = route.find(request)
        try:
            loop = asyncio.get_running_loop()
            with self.metrics.held("rondo_predictions_in_flight"):
                answer = await loop.run_in_executor(self.workers, route.answer, request, served)
        except RondoError as exc:
            answer = _refusal(exc)
        return replace(answer, headers={**answer.headers, **route.headers(served)})

    async def _send(self, send: Send, answer: Answer) -> None:
        headers = [(b"content-length", b"%d" % len(answer.body))]
        if answer.body:
            headers.append((b"content-type", answer.media.encode()))
        headers += [(name.encode(), value.encode()) for name, value in answer.headers.items()]
        if self.draining() or answer.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            headers.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})


async def _part(receive: Receive) -> tuple[bytes, bool]:
    """Return the next part of the body, and whether more is to come."""
    message = await receive()
    if message["type"] == "http.disconnect":
        raise Disconnected
    return message.get("body", b""), message.get("more_body", False)


def _refusal(exc: RondoError) -> Answer:
    status = next((status for family, status in STATUSES if isinstance(exc, family)), None)
    if status is None:
        return _failure(exc)
    return json_answer({"error": str(exc)[:LONGEST_TEXT]}, status=status)


def _failure(exc: Exception) -> Answer:
    """Tell the caller a reference, and the log everything."""
    reference = uuid.uuid4().hex
    log.error("request failed", exc_info=exc, extra={"reference": reference, "outcome": "error"})
    text = f"internal error, reference {reference}"
    return json_answer({"error": text}, status=HTTPStatus.INTERNAL_SERVER_ERROR)
