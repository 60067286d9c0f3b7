"""What comes in on a connection: bytes become requests, within bounds of size."""

from typing import Protocol
from urllib.parse import unquote

import httptools
from msgspec.structs import replace

from rondo_inference.contracts.messages import Answer, json_answer
from rondo_inference.web.admission import Admission
from rondo_inference.web.known_head import KnownHead, known_head
from rondo_inference.web.message import Message, malformed
from rondo_inference.web.refusals import refusal
from rondo_inference.web.shared import Shared

__all__ = ["Incoming"]

_DISCARDED_BODIES = 4
"""So many times the allowed length is read and forgotten before a caller is cut off."""
_USUAL = {
    text.encode(): name
    for name in ("host", "accept", "content-length", "content-type", "user-agent", "connection",
                 "accept-encoding", "authorization", "inference-header-content-length")
    for text in (name, name.title())
}  # fmt: skip
"""Names as most callers write them."""
_PIECE_BYTES = 64
"""What a piece of a body takes beside its bytes: a body may come byte by byte."""


class Receiver(Protocol):
    """Takes the requests; see ``Connection``."""

    deadline: float

    def received(self, message: Message) -> None:
        """Answer a request that is whole, or one that is refused, after those before it."""
        ...

    def invite(self) -> None:
        """Tell the caller to send its body, as soon as everything before is answered."""
        ...


class Incoming:
    """Reads the requests of one connection.

    Args:
        shared: bounds, and who admits requests.
        receiver: takes them.
    """

    def __init__(self, shared: Shared, receiver: Receiver) -> None:
        self.message = Message()
        self.reading = False
        self.ended = False
        self._shared = shared
        self._rules = shared.rules
        self._budget = shared.budget
        self._receiver = receiver
        self._parser = httptools.HttpRequestParser(self)
        self._known: KnownHead | None = None
        self._began_with = b""

    def feed(self, data: bytes) -> bytes | None:
        """Read on; return what follows a request for another protocol, None while there is none."""
        if self.ended:
            return None
        known = self._known
        if known is not None and not self.reading and known.fits(data):
            self._repeated(known, data)
            return None
        self._began_with = b"" if self.reading else data
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as exc:
            self.ended = True  # the parser has lost what follows
            return data[exc.args[0] :]
        except httptools.HttpParserError:
            self.refuse(400, "this is not HTTP/1.1")
        return None

    def refuse(self, status: int, text: str) -> None:
        """Refuse what is being read, and read no more, whatever else the caller sends."""
        self._end(json_answer({"error": text}, status=status))

    def release(self, message: Message) -> None:
        """Give back what a request took of the budget."""
        self._budget.give(message.held)
        message.held = 0

    def _repeated(self, known: KnownHead, data: bytes) -> None:
        admission = known.message.admission
        assert admission is not None  # noqa: S101  (its head was read)
        admission, body = self._shared.app.again(admission), data[len(known.head) :]
        size = len(body) + _PIECE_BYTES
        if admission.refusal is None and self._budget.take(size):
            message = replace(known.message, body=[body], held=size, admission=admission)
            self._receiver.received(message)
            return
        self.message, self.reading = replace(known.message, body=[], admission=admission), True
        self.on_body(body)
        self.on_message_complete()

    # --- the parser's side ------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """A request starts."""
        if not self.ended:
            self.message = Message()
            self.reading = True
            self._receiver.deadline = self._shared.time() + self._rules.header_seconds

    def on_url(self, url: bytes) -> None:
        """A piece of the target."""
        if self.ended:
            return
        message = self.message
        message.url += url
        message.header_bytes += len(url)
        if message.header_bytes > self._rules.max_header_bytes:
            self._refuse_headers()

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header; a repeated one is joined by a comma."""
        if self.ended:
            return
        message = self.message
        message.header_bytes += len(name) + len(value)
        if message.header_bytes > self._rules.max_header_bytes:
            self._refuse_headers()
        if message.method:  # a trailer
            return
        key = _USUAL.get(name) or name.lower().decode("latin-1")
        text = value.decode("latin-1")
        known = message.headers.get(key)
        message.headers[key] = text if known is None else f"{known}, {text}"

    def _refuse_headers(self) -> None:
        self.refuse(431, f"the headers are longer than {self._rules.max_header_bytes} bytes")

    def on_headers_complete(self) -> None:
        """All headers are there: what they say decides whether the body is wanted."""
        if self.ended:
            return
        message, headers, parser = self.message, self.message.headers, self._parser
        message.method = parser.get_method().decode("latin-1")
        message.keep_alive = parser.should_keep_alive()
        if "connection" in headers:  # else it is what the version implies
            message.old = parser.get_http_version() == "1.0"
        if complaint := malformed(headers, parser.get_http_version()):
            self.refuse(400, complaint)
            return
        announced = headers.get("content-length", "").lstrip("0")
        has_body = bool(announced) or "transfer-encoding" in headers
        if parser.should_upgrade():
            message.upgrade, message.keep_alive = headers.get("upgrade", "").lower(), False
            if has_body:  # the parser takes the body for a request
                self.refuse(400, "a request with a body cannot ask for an upgrade")
                return
        self._receiver.deadline = self._shared.time() + self._rules.body_seconds
        admission = self._admit(message)
        too_large = announced.isdigit() and int(announced) > self._rules.max_body_bytes
        if too_large and admission.refusal is None:
            message.refusal = self._too_large()
        if "expect" in headers:
            self._expect(message, headers["expect"])

    def _admit(self, message: Message) -> Admission:
        target, _, query = message.url.partition(b"?")
        path = target.decode("latin-1")
        if not path.startswith("/"):  # a proxy's form: http://host/path
            path = "/" + path.partition("://")[2].partition("/")[2]
        if "%" in path:
            path = unquote(path)
        admission = self._shared.app.admit(
            message.method, path, query.decode("latin-1"), message.headers
        )
        message.admission = admission
        return admission

    def _expect(self, message: Message, expected: str) -> None:
        """A caller that waits for our word sends nothing now: refuse at once, or invite the body.

        Source: RFC 9110, section 10.1.1.
        """
        if expected.lower() != "100-continue":
            self.refuse(417, f"Expect {expected[:50]!r} is not 100-continue")
            return
        if unwanted := message.unwanted:
            self._end(unwanted)
        elif self._parser.get_http_version() != "1.0":
            message.waits = True
            self._receiver.invite()

    def on_body(self, part: bytes) -> None:
        """A piece of the body; kept only if it is still wanted."""
        message, size = self.message, len(part)
        if self.ended:
            return
        message.body_bytes += size
        message.waits = False
        unwanted = message.unwanted
        if unwanted is None and message.body_bytes > self._rules.max_body_bytes:
            unwanted = self._too_large()
            self._forget(message, unwanted)
        if unwanted:
            if message.body_bytes > _DISCARDED_BODIES * self._rules.max_body_bytes:
                self._end(unwanted)
            return
        size += _PIECE_BYTES
        if self._budget.take(size):
            message.held += size
            message.body.append(part)
        else:
            self._forget(message, refusal(self._budget.full()))

    def _forget(self, message: Message, answer: Answer) -> None:
        message.refusal = answer
        message.body.clear()
        self.release(message)

    def on_message_complete(self) -> None:
        """The request is whole."""
        message = self.message
        if self.ended:
            return
        message.waits = False
        if message.refusal is not None:
            self._end(message.refusal)
            return
        if self._began_with:
            self._known, self._began_with = known_head(self._began_with, message), b""
        self._pass_on(message)

    def _too_large(self) -> Answer:
        text = f"the body is longer than {self._rules.max_body_bytes} bytes"
        return json_answer({"error": text}, status=413)

    def _end(self, answer: Answer) -> None:
        if not self.ended:
            self.ended = True
            if not self.reading:  # the last message is no longer ours
                self.message = Message()
            self._forget(self.message, answer)
            self._pass_on(self.message)

    def _pass_on(self, message: Message) -> None:
        self.reading = False
        self._receiver.received(message)
