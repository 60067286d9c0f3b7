"""One HTTP/1.1 connection: parse, hand over, write; within bounds of size and time.

Requests on a connection are answered one after the other, in their order.
"""

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import cast
from urllib.parse import unquote

import httptools

from rondo_inference.contracts.messages import Answer, json_answer
from rondo_inference.web.shared import Shared
from rondo_inference.web.written import written

__all__ = ["Connection"]

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_MOST_WAITING = 8
"""Requests of one connection that were read and wait for their turn; then reading stops."""
_DISCARDED_BODIES = 4
"""So many times the allowed length is read and forgotten before a caller is cut off."""


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
        self._read_paused = False
        self._write_paused = False
        self._ended = False
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
        if self._ended:
            return
        if not self._reading and self._task is None:
            self.deadline = self._shared.time() + self._rules.header_seconds
        self._reading = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._ended = True  # the request is answered; the parser has lost what follows it
        except httptools.HttpParserError:
            self._refuse(400, "this is not HTTP/1.1")

    def pause_writing(self) -> None:
        """See ``asyncio.Protocol``: who does not read answers gets no more questions read."""
        self._write_paused = True
        self._go_on()

    def resume_writing(self) -> None:
        """See ``asyncio.Protocol``."""
        self._write_paused = False
        self._go_on()

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
        self._count_header(len(name) + len(value))
        message, key = self._message, name.lower().decode("latin-1")
        if message.method:  # a trailer
            return
        text = value.decode("latin-1")
        known = message.headers.get(key)
        message.headers[key] = text if known is None else f"{known}, {text}"

    def _count_header(self, size: int) -> None:
        self._message.header_bytes += size
        if self._message.header_bytes > self._rules.max_header_bytes:
            self._refuse(431, f"the headers are longer than {self._rules.max_header_bytes} bytes")

    def on_headers_complete(self) -> None:
        """All headers are there."""
        if self._ended:
            return
        message, headers = self._message, self._message.headers
        message.method = self._parser.get_method().decode("latin-1")
        message.keep_alive = self._parser.should_keep_alive() and not self._parser.should_upgrade()
        self.deadline = self._shared.time() + self._rules.body_seconds
        announced, waits = headers.get("content-length", ""), "expect" in headers
        has_body = announced.strip("0") or "transfer-encoding" in headers
        if has_body and self._parser.should_upgrade():  # the parser takes the body for a request
            self._refuse(400, "a request with a body cannot ask for an upgrade")
            return
        if announced.isdigit() and int(announced) > self._rules.max_body_bytes:
            message.refusal = self._too_large()
            if waits:  # a caller that waits for our word sends nothing now
                self._end(message.refusal)
        elif waits and self._transport is not None and self.is_answered:
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
        message = self._message
        if self._ended:
            return
        if message.refusal is not None:
            self._end(message.refusal)
            return
        self._reading = False
        self._queue(message)

    # --- ours -------------------------------------------------------------------------------------

    @property
    def is_idle(self) -> bool:
        """Whether no request is being read or answered."""
        return not self._reading and self.is_answered

    @property
    def is_answered(self) -> bool:
        """Whether every request that was read is answered."""
        return self._task is None and not self._waiting

    def close(self) -> None:
        """Close it; what was written is still sent."""
        if self._transport is not None:
            self._transport.close()

    def check(self, now: float) -> None:
        """Close it if it took too long; called every now and then."""
        if not self.is_answered or now < self.deadline:
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
        """Answer when all before it are answered, and close, whatever else the caller sends."""
        if not self._ended:
            self._ended = True
            self._message.refusal = answer
            self._queue(self._message)

    def _queue(self, message: _Message) -> None:
        self._message = _Message()
        self._waiting.append(message)
        self._go_on()

    def _go_on(self) -> None:
        """Answer the next request and read more, each if it may be."""
        transport = self._transport
        if self._task is None and self._waiting and not self._write_paused:
            self._next()
        if transport is None or transport.is_closing():
            return
        full = self._write_paused or len(self._waiting) >= _MOST_WAITING
        if full != self._read_paused:
            self._read_paused = full
            (transport.pause_reading if full else transport.resume_reading)()

    def _next(self) -> None:
        message = self._waiting.popleft()
        if message.refusal is not None:
            self._write(message, message.refusal, keep_alive=False)
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
            return
        if not self._waiting and not self._reading:
            self.deadline = self._shared.time() + self._rules.idle_seconds
        self._go_on()

    def _write(self, message: _Message, answer: Answer, *, keep_alive: bool) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        keep_alive = keep_alive and not self._shared.draining()
        transport.write(
            written(answer, self._shared.date, method=message.method, keep_alive=keep_alive)
        )
        if not keep_alive:
            transport.close()
