"""One HTTP/1.1 connection: parse, hand over, write; within bounds of size and time.

Requests on a connection are answered one after the other, in their order.
"""

import asyncio
from collections import deque
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import cast
from urllib.parse import unquote

import httptools

from rondo_inference.contracts.messages import Answer, json_answer
from rondo_inference.web.shared import Shared

__all__ = ["Connection"]

_REASONS = {int(status): status.phrase for status in HTTPStatus}
_STATUS_LINES = {
    code: f"HTTP/1.1 {code} {phrase}\r\n".encode() for code, phrase in _REASONS.items()
}
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_MOST_WAITING = 8
"""Requests of one connection that were read and wait for their turn; then reading stops."""
_DISCARDED_BODIES = 4
"""So many times the allowed length is read and forgotten before a caller is cut off."""
_BODYLESS = {204, 304}


@dataclass(slots=True)
class _Message:
    """A request while it comes in."""

    url: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    header_bytes: int = 0
    body: list[bytes] = field(default_factory=list)
    body_bytes: int = 0
    method: str = ""
    keep_alive: bool = True
    refusal: Answer | None = None


class Connection(asyncio.Protocol):  # noqa: PLR0904  (two protocols name them)
    """Speaks HTTP/1.1 with one caller.

    Args:
        shared: what it has in common with the others.
    """

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._rules = shared.rules
        self._parser = httptools.HttpRequestParser(self)
        self._message = _Message()
        self._waiting: deque[_Message] = deque()
        self._task: asyncio.Task[None] | None = None
        self._transport: asyncio.Transport | None = None
        self._reading = False
        self.deadline = shared.time() + shared.rules.idle_seconds

    # --- the transport's side ---------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See ``asyncio.Protocol``."""
        self._transport = cast("asyncio.Transport", transport)
        if len(self._shared.connections) >= self._rules.max_connections:
            self._refuse(503, "too many connections; try again")
            return
        self._shared.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """See ``asyncio.Protocol``: nobody waits for an answer any more."""
        del exc
        self._transport = None
        self._shared.connections.discard(self)
        self._waiting.clear()
        if self._task is not None:
            self._task.cancel()

    def data_received(self, data: bytes) -> None:
        """See ``asyncio.Protocol``."""
        if not self._reading and self._task is None:
            self.deadline = self._shared.time() + self._rules.header_seconds
        self._reading = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # the request itself was read; it is answered as if it had not asked for that
        except httptools.HttpParserError:
            self._refuse(400, "this is not HTTP/1.1")

    def pause_writing(self) -> None:
        """See ``asyncio.Protocol``: who does not read answers gets no more questions read."""
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        """See ``asyncio.Protocol``."""
        if self._transport is not None:
            self._transport.resume_reading()

    # --- the parser's side ------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """A request starts."""
        self._message = _Message()

    def on_url(self, url: bytes) -> None:
        """A piece of the target."""
        self._message.url += url
        self._count_header(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header; a repeated one is joined by a comma."""
        message, key = self._message, name.lower().decode("latin-1")
        text = value.decode("latin-1")
        known = message.headers.get(key)
        message.headers[key] = text if known is None else f"{known}, {text}"
        self._count_header(len(name) + len(value))

    def _count_header(self, size: int) -> None:
        self._message.header_bytes += size
        if self._message.header_bytes > self._rules.max_header_bytes:
            self._refuse(431, f"the headers are longer than {self._rules.max_header_bytes} bytes")

    def on_headers_complete(self) -> None:
        """All headers are there."""
        message, headers = self._message, self._message.headers
        message.method = self._parser.get_method().decode("latin-1")
        message.keep_alive = self._parser.should_keep_alive()
        self.deadline = self._shared.time() + self._rules.body_seconds
        announced, waits = headers.get("content-length", ""), "expect" in headers
        if announced.isdigit() and int(announced) > self._rules.max_body_bytes:
            message.refusal = self._too_large()
            if waits:  # a caller that waits for our word sends nothing now
                self._end(message.refusal)
        elif waits and self._transport is not None and self._task is None:
            self._transport.write(_CONTINUE)

    def on_body(self, part: bytes) -> None:
        """A piece of the body."""
        message = self._message
        message.body_bytes += len(part)
        if message.refusal is None and message.body_bytes > self._rules.max_body_bytes:
            message.refusal = self._too_large()
            message.body.clear()
        if message.refusal is None:
            message.body.append(part)
        elif message.body_bytes > _DISCARDED_BODIES * self._rules.max_body_bytes:
            self._end(message.refusal)

    def on_message_complete(self) -> None:
        """The request is whole."""
        self._reading = False
        self._waiting.append(self._message)
        if self._task is None:
            self._next()
        elif len(self._waiting) >= _MOST_WAITING and self._transport is not None:
            self._transport.pause_reading()

    # --- ours -------------------------------------------------------------------------------------

    @property
    def is_idle(self) -> bool:
        """Whether no request is being read or answered."""
        return not self._reading and self._task is None

    def close(self) -> None:
        """Close it; what was written is still sent."""
        if self._transport is not None:
            self._transport.close()

    def check(self, now: float) -> None:
        """Close it if it took too long; called every now and then."""
        if self._task is not None or now < self.deadline:
            return
        if self._reading:
            self._refuse(408, "the request did not come in time")
        else:
            self.close()

    def _too_large(self) -> Answer:
        text = f"the body is longer than {self._rules.max_body_bytes} bytes"
        return json_answer({"error": text}, status=413)

    def _refuse(self, status: int, text: str) -> None:
        self._end(json_answer({"error": text}, status=status))

    def _end(self, answer: Answer) -> None:
        """Answer and close, whatever else the caller still sends."""
        if self._transport is not None and not self._transport.is_closing():
            self._write(self._message, answer, keep_alive=False)

    def _next(self) -> None:
        message = self._waiting.popleft()
        if message.refusal is not None:
            self._end(message.refusal)
            return
        self._shared.expect(1)
        self._task = asyncio.get_running_loop().create_task(self._respond(message))
        self._task.add_done_callback(self._done)

    async def _respond(self, message: _Message) -> None:
        target, _, query = message.url.partition(b"?")
        path = target.decode("latin-1")
        if not path.startswith("/"):  # a proxy's form: http://host/path
            path = "/" + path.partition("://")[2].partition("/")[2]
        if "%" in path:
            path = unquote(path)
        body = message.body[0] if len(message.body) == 1 else b"".join(message.body)
        answer = await self._shared.respond(
            message.method, path, query.decode("latin-1"), message.headers, body
        )
        self._write(message, answer, keep_alive=message.keep_alive)

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._task = None
        self._shared.expect(-1)
        if self._transport is None or self._transport.is_closing():
            return
        if task.cancelled() or task.exception() is not None:
            self._transport.close()
        elif self._waiting:
            self._transport.resume_reading()
            self._next()
        elif not self._reading:
            self.deadline = self._shared.time() + self._rules.idle_seconds

    def _write(self, message: _Message, answer: Answer, *, keep_alive: bool) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        keep_alive = keep_alive and not self._shared.draining()
        body = b"" if answer.status in _BODYLESS else answer.body
        parts = [
            _STATUS_LINES[answer.status],
            self._shared.date,
            b"content-length: %d\r\n" % len(body),
        ]
        if body:
            parts.append(b"content-type: %b\r\n" % answer.media.encode("latin-1"))
        parts += [
            f"{name}: {value}\r\n".encode("latin-1", "replace")
            for name, value in answer.headers.items()
        ]
        parts.append(b"\r\n" if keep_alive else b"connection: close\r\n\r\n")
        if message.method != "HEAD":
            parts.append(body)
        transport.write(b"".join(parts))
        if not keep_alive:
            transport.close()
