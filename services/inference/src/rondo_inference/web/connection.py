"""One HTTP/1.1 connection: requests are answered one after the other, in their order, in time."""

import asyncio
from collections import deque
from typing import cast

from rondo_inference.contracts.messages import Answer
from rondo_inference.web.incoming import Incoming
from rondo_inference.web.message import Message
from rondo_inference.web.outgoing import Outgoing
from rondo_inference.web.shared import CROWDED, MOST_AT_ONCE, MOST_WAITING, Shared
from rondo_inference.web.started import started
from rondo_inference.web.stream import Stream, handshake
from rondo_inference.web.written import written

__all__ = ["Connection"]

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Connection(asyncio.Protocol):  # noqa: PLR0904  (three protocols name them)
    """Speaks HTTP/1.1 with one caller.

    Args:
        shared: what it has in common with the others.
    """

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._rules = shared.rules
        self._incoming = Incoming(shared, self)
        self._waiting: deque[Message] = deque()
        self._answering = Message()
        self._task: asyncio.Task[None] | None = None
        self._outgoing: Outgoing | None = None
        self._stream: Stream | None = None
        self._at_once = False
        self._read_paused = False
        self._write_paused = False
        self.deadline = shared.time() + shared.rules.idle_seconds

    # --- the transport's side ---------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See ``asyncio.Protocol``."""
        self._outgoing = Outgoing(cast("asyncio.Transport", transport), self._shared.time())
        if not self._shared.has_room():
            self._incoming.refuse(503, CROWDED)
            return
        self._shared.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """See ``asyncio.Protocol``: nobody waits for an answer any more."""
        del exc
        self._outgoing = None
        self._shared.connections.discard(self)
        for message in (*self._waiting, self._incoming.message):
            self._incoming.release(message)
        self._waiting.clear()
        if self._task is not None:
            self._task.cancel()

    def data_received(self, data: bytes) -> None:
        """See ``asyncio.Protocol``."""
        # Who sends while nobody else does is answered at once; else requests are read first, so
        # that those of the same turn of the loop are computed together.
        self._at_once = self._shared.latest is self
        rest = self._incoming.feed(data)
        if self._at_once:
            self._go_on()
            self._at_once = False
        if rest and self._stream is not None:
            self._stream.data_received(rest)

    def pause_writing(self) -> None:
        """See ``asyncio.Protocol``: who does not read answers gets no more questions read."""
        self._write_paused = True
        self._go_on()

    def resume_writing(self) -> None:
        """See ``asyncio.Protocol``."""
        self._write_paused = False
        self._go_on()

    # --- the requests' side -----------------------------------------------------------------------

    def received(self, message: Message) -> None:
        """Answer a request when all before it are answered; see ``Receiver``."""
        if message.upgrade and message.asks_for_a_stream and self.is_answered:
            message.refusal = self._switched(message)
            if message.refusal is None:
                return
        self._waiting.append(message)
        self._shared.latest = self
        if not self._at_once:
            self._go_on()
        if len(self._waiting) >= MOST_AT_ONCE:
            text = f"{MOST_AT_ONCE} requests wait for their turn; read their answers first"
            self._incoming.refuse(503, text)

    def invite(self) -> None:
        """Tell the caller to send its body; see ``Receiver``."""
        if self._outgoing is not None and self.is_answered and self._incoming.message.waits:
            self._incoming.message.waits = False
            self.deadline = self._shared.time() + self._rules.body_seconds  # it could not before
            self._outgoing.send(_CONTINUE)

    # --- the server's side ------------------------------------------------------------------------

    @property
    def is_idle(self) -> bool:
        """Whether no request is being read or answered, or may be on its way."""
        if self._incoming.reading or not self.is_answered:
            return False
        return self._outgoing is None or not self._outgoing.may_be_asked(self._shared.time())

    @property
    def is_answered(self) -> bool:
        """Whether every request that was read is answered."""
        return self._task is None and not self._waiting

    def close(self) -> None:
        """Close it; what was written is still sent."""
        if self._outgoing is not None:
            self._outgoing.transport.close()

    @property
    def silent_until(self) -> float | None:
        """See ``Closing``."""
        return self.deadline if self.is_answered and not self._read_paused else None

    def cut(self, why: str) -> None:
        """Refuse a request of which only a part has come."""
        if self._incoming.reading:
            self._incoming.refuse(503, why)

    def abort(self) -> None:
        """Close it; what was written and not taken is lost."""
        if self._outgoing is not None:
            self._outgoing.transport.abort()

    def check(self, now: float) -> None:
        """Close it if it took too long; called every now and then."""
        if self._outgoing is not None and self._outgoing.stalls(now, self._shared.write_seconds):
            self.abort()
        elif self.is_answered and not self._read_paused and now >= self.deadline:
            if self._incoming.reading:
                self._incoming.refuse(408, "the request did not come in time")
            else:
                self.close()

    # --- ours -------------------------------------------------------------------------------------

    def _go_on(self) -> None:
        """Answer the next request and read more, each if it may be."""
        outgoing = self._outgoing
        if self._task is None and self._waiting and not self._write_paused:
            self._next()
        if outgoing is None or outgoing.transport.is_closing():
            return
        full = self._write_paused or len(self._waiting) >= MOST_WAITING
        if full != self._read_paused:
            self._read_paused = full
            transport = outgoing.transport
            (transport.pause_reading if full else transport.resume_reading)()
            # What it could not send meanwhile is not late.
            self.deadline = max(self.deadline, self._shared.time() + self._rules.header_seconds)

    def _next(self) -> None:
        message = self._waiting.popleft()
        if message.refusal is not None:
            self._write(message, message.refusal, keep_alive=False)
            return
        self._shared.app.expect(1)
        self._answering = message
        if self._at_once:
            self._at_once = False  # the next one lets others have their turn
            self._begin(message)
        else:
            self._task = asyncio.get_running_loop().create_task(self._respond(message))
            self._task.add_done_callback(self._done)

    def _begin(self, message: Message) -> None:
        try:
            task = started(self._respond(message))
        except Exception:  # noqa: BLE001  (as a task that failed)
            self._ended(failed=True)
            return
        if task is None:
            self._ended(failed=False)
            return
        self._task = task
        task.add_done_callback(self._done)

    async def _respond(self, message: Message) -> None:
        admission = message.admission
        assert admission is not None  # noqa: S101  (its head was read)
        body = message.body[0] if len(message.body) == 1 else b"".join(message.body)
        answer = await self._shared.app.respond(admission, body)
        self._write(message, answer, keep_alive=message.keep_alive)

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._task = None
        self._ended(failed=task.cancelled() or task.exception() is not None)

    def _ended(self, *, failed: bool) -> None:
        self._incoming.release(self._answering)
        self._shared.app.expect(-1)
        if self._outgoing is None or self._outgoing.transport.is_closing():
            return
        if failed:
            self.close()
            return
        if not self._waiting and not self._incoming.reading:
            self.deadline = self._shared.time() + self._rules.idle_seconds
        self._go_on()
        self.invite()

    def _write(self, message: Message, answer: Answer, *, keep_alive: bool) -> None:
        outgoing = self._outgoing
        if outgoing is None or outgoing.transport.is_closing():
            return
        if self._shared.draining():  # the last answer says that there will be no other
            keep_alive = keep_alive and bool(self._waiting or self._incoming.reading)
        outgoing.send(
            written(
                answer,
                self._shared.date,
                method=message.method,
                keep_alive=keep_alive,
                old=message.old,
            )
        )
        if not keep_alive:
            outgoing.transport.close()

    def _switched(self, message: Message) -> Answer | None:
        """Let a stream have the connection from here on; return why it may not."""
        outgoing, admission = self._outgoing, message.admission
        assert outgoing is not None  # noqa: S101  (a request came in)
        assert admission is not None  # noqa: S101  (its head was read)
        accepted = handshake(admission)
        if isinstance(accepted, Answer):
            return accepted
        outgoing.send(accepted)
        self._stream = Stream(self._shared, outgoing, admission)
        outgoing.transport.set_protocol(self._stream)
        self._shared.connections.discard(self)
        self._shared.connections.add(self._stream)
        return None
