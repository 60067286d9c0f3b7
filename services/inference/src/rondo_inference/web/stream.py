"""One WebSocket (RFC 6455): each message asks, and is answered by one message, in their order.

SageMaker's bidirectional streaming ends here: it strips headers and passes the query on, so the
query may say what headers say elsewhere. It pings every 60 s, and gives up after five.

Source: "Custom Inference Code with Hosting Services" (docs.aws.amazon.com/sagemaker).
"""

import asyncio
from collections import deque
from dataclasses import dataclass
from urllib.parse import parse_qs

from websockets.datastructures import Headers
from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import SERVER, State
from websockets.protocol import Protocol as WebSocket
from websockets.server import ServerProtocol

from rondo_inference.contracts.messages import Answer, json_answer
from rondo_inference.web.admission import Admission
from rondo_inference.web.outgoing import Outgoing
from rondo_inference.web.shared import MOST_AT_ONCE, MOST_WAITING, Shared

__all__ = ["Stream", "handshake"]

STREAM_SECONDS = 300.0
"""A stream on which nothing comes for so long, not even a ping, is closed."""

_CLOSE_SECONDS = 2.0
"""So long it may take the caller to say that it closes too."""

_PIECE_BYTES = 64
"""What a piece of a message takes beside its bytes: a message may come byte by byte."""

_PER_MESSAGE = frozenset({"content-type", "accept"})
"""What the query may say instead of a header."""

_OF_THE_HANDSHAKE = ("connection", "upgrade", "sec-websocket-", "accept-encoding", "content-")
"""Beginnings of headers that say nothing of the messages."""

_TEXTS = ("text/", "application/json")
_TEXT, _BINARY, _CONT = Opcode.TEXT, Opcode.BINARY, Opcode.CONT


def handshake(admission: Admission) -> bytes | Answer:
    """Return the bytes that open a stream, or why it is not opened.

    Args:
        admission: of a GET that asks for a WebSocket.
    """
    response = ServerProtocol().accept(Request(admission.path, Headers(admission.headers)))
    if response.status_code == 101:  # noqa: PLR2004  (Switching Protocols)
        return response.serialize()
    return json_answer({"error": response.body.decode().strip()}, status=response.status_code)


@dataclass(frozen=True, slots=True)
class _Message:
    body: bytes
    held: int


class Stream(asyncio.Protocol):
    """Speaks with one caller, from the opening handshake on.

    Args:
        shared: what it has in common with the connections.
        outgoing: to the caller.
        admission: of the opening request.
    """

    def __init__(self, shared: Shared, outgoing: Outgoing, admission: Admission) -> None:
        self._shared = shared
        self._outgoing = outgoing
        self._path, self._query = admission.stream, admission.query
        self._headers = _message_headers(admission)
        self._socket = WebSocket(SERVER, max_size=shared.rules.max_body_bytes)
        self._pieces: list[bytes] = []
        self._kind = _BINARY
        self._held = 0
        self._waiting: deque[_Message] = deque()
        self._answering = _Message(b"", 0)
        self._task: asyncio.Task[None] | None = None
        self._read_paused = False
        self._write_paused = False
        self._deadline = shared.time() + STREAM_SECONDS

    # --- the transport's side ---------------------------------------------------------------------

    def connection_lost(self, exc: Exception | None) -> None:
        """See ``asyncio.Protocol``: nobody waits for an answer any more."""
        del exc
        self._shared.connections.discard(self)
        self._shared.budget.give(self._held + sum(message.held for message in self._waiting))
        self._held = 0
        self._waiting.clear()
        if self._task is not None:
            self._task.cancel()

    def data_received(self, data: bytes) -> None:
        """See ``asyncio.Protocol``."""
        if self._socket.state is State.OPEN:
            self._deadline = self._shared.time() + STREAM_SECONDS
        self._socket.receive_data(data)
        for event in self._socket.events_received():
            if isinstance(event, Frame):
                self._frame(event)
        self._hold()
        self._flush()
        self._go_on()

    def pause_writing(self) -> None:
        """See ``asyncio.Protocol``: who does not read answers gets no more questions read."""
        self._write_paused = True
        self._go_on()

    def resume_writing(self) -> None:
        """See ``asyncio.Protocol``."""
        self._write_paused = False
        self._go_on()

    # --- the server's side ------------------------------------------------------------------------

    @property
    def is_idle(self) -> bool:
        """Whether no message is being read or answered."""
        return self._task is None and not self._waiting and not self._held

    silent_until = None
    """See ``Closing``: a stream may wait for its next message."""

    def close(self) -> None:
        """Say that this end goes away; the caller says so too, and is cut off if it does not."""
        self._end(CloseCode.GOING_AWAY)

    def cut(self, why: str) -> None:
        """Take no more messages."""
        del why  # going away is what it is told
        self.close()

    def abort(self) -> None:
        """Close it; what was written and not taken is lost."""
        self._outgoing.transport.abort()

    def check(self, now: float) -> None:
        """Close it if it took too long; called every now and then."""
        if self._outgoing.stalls(now, self._shared.write_seconds):
            self.abort()
        elif now >= self._deadline and self._task is None:
            (self.close if self._socket.state is State.OPEN else self.abort)()

    # --- ours -------------------------------------------------------------------------------------

    def _frame(self, frame: Frame) -> None:
        if frame.opcode not in {_TEXT, _BINARY, _CONT} or self._socket.state is not State.OPEN:
            return
        if frame.opcode is not _CONT:
            self._kind = frame.opcode
        self._pieces.append(bytes(frame.data))
        if not frame.fin:
            return
        body = b"".join(self._pieces)
        self._pieces.clear()
        known = min(self._held, len(body))
        if self._kind is _TEXT and not _is_unicode(body):
            self._end(CloseCode.INVALID_DATA)
        elif len(self._waiting) < MOST_AT_ONCE and self._shared.budget.take(len(body) - known):
            self._held -= known
            self._waiting.append(_Message(body, len(body)))
        else:
            self._end(CloseCode.TRY_AGAIN_LATER)

    def _hold(self) -> None:
        """Note what the message takes of which a part has come, also what is not yet a frame."""
        pieces = sum(len(piece) + _PIECE_BYTES for piece in self._pieces)
        more = pieces + len(self._socket.reader.buffer) - self._held
        if more <= 0:
            self._shared.budget.give(-more)
        elif not self._shared.budget.take(more):
            self._end(CloseCode.TRY_AGAIN_LATER)
            return
        self._held += more

    def _end(self, code: CloseCode) -> None:
        if self._socket.state is State.OPEN:
            self._socket.send_close(code)
            self._deadline = self._shared.time() + _CLOSE_SECONDS
            self._flush()

    def _flush(self) -> None:
        for data in self._socket.data_to_send():
            if data:
                self._outgoing.send(data)
            else:  # both ends have said that they close
                self._outgoing.transport.close()

    def _go_on(self) -> None:
        """Answer the next message and read more, each if it may be."""
        transport = self._outgoing.transport
        if self._task is None and self._waiting and not self._write_paused:
            self._answering = self._waiting.popleft()
            self._shared.app.expect(1)
            self._task = asyncio.get_running_loop().create_task(self._respond(self._answering))
            self._task.add_done_callback(self._done)
        full = self._write_paused or len(self._waiting) >= MOST_WAITING
        if full != self._read_paused and not transport.is_closing():
            self._read_paused = full
            (transport.pause_reading if full else transport.resume_reading)()

    async def _respond(self, message: _Message) -> None:
        app = self._shared.app
        admission = app.admit("POST", self._path, self._query, self._headers)
        answer = await app.respond(admission, message.body)
        if self._socket.state is State.OPEN:
            text = answer.media.startswith(_TEXTS)
            (self._socket.send_text if text else self._socket.send_binary)(answer.body)
            self._flush()

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._task = None
        self._shared.budget.give(self._answering.held)
        self._shared.app.expect(-1)
        if task.cancelled() or task.exception() is not None:
            self._end(CloseCode.INTERNAL_ERROR)
            return
        self._deadline = max(self._deadline, self._shared.time() + _CLOSE_SECONDS)
        self._go_on()


def _message_headers(admission: Admission) -> dict[str, str]:
    """Return what each message says besides its body."""
    said = {
        name: one
        for name, one in admission.headers.items()
        if name == "content-type" or not name.startswith(_OF_THE_HANDSHAKE)
    }
    asked = parse_qs(admission.query)
    return said | {name: asked[name][0] for name in _PER_MESSAGE if name in asked}


def _is_unicode(body: bytes) -> bool:
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True
