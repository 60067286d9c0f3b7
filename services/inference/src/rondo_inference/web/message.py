"""A request, from its first byte until it is answered."""

from collections.abc import Mapping

from msgspec import Struct

from rondo_inference.contracts.messages import Answer
from rondo_inference.web.admission import Admission

__all__ = ["Message", "malformed"]


class Message(Struct):
    """A request while it comes in, and until it is answered.

    Attributes:
        held: bytes that it takes of the budget of all bodies.
        old: HTTP/1.0, of which a caller is told when its connection goes on.
        waits: the caller sends the body when it is told to go on.
        upgrade: the protocol that it asks for instead of this one; empty: none.
        admission: what its head is worth; None while that is not read.
        refusal: ends the connection.
    """

    url: bytes = b""
    headers: dict[str, str] = {}
    header_bytes: int = 0
    body: list[bytes] = []
    body_bytes: int = 0
    held: int = 0
    method: str = ""
    keep_alive: bool = True
    old: bool = False
    waits: bool = False
    upgrade: str = ""
    admission: Admission | None = None
    refusal: Answer | None = None

    @property
    def asks_for_a_stream(self) -> bool:
        """Whether the connection is to become a WebSocket, and the route speaks it."""
        admission = self.admission
        if self.upgrade != "websocket" or self.method != "GET":
            return False
        if admission is None or admission.refusal is not None:
            return False
        return bool(admission.stream)

    @property
    def unwanted(self) -> Answer | None:
        """What the request is refused with, whatever its body is."""
        return self.refusal or (self.admission.refusal if self.admission is not None else None)


def malformed(headers: Mapping[str, str], version: str) -> str:
    """Say what HTTP forbids in these headers; repeated ones were joined by a comma and a space.

    Args:
        headers: by lower-case name.
        version: of HTTP, such as ``1.1``.

    Source: RFC 9112, sections 3.2 (Host) and 6.1 (Transfer-Encoding).
    """
    host = headers.get("host")
    if host is None and version != "1.0":
        return "a request of HTTP/1.1 needs a Host"
    if host is not None and ", " in host:
        return f"Host {host[:50]!r} is not one host"
    if "transfer-encoding" in headers and version == "1.0":
        return "HTTP/1.0 knows no Transfer-Encoding"
    return ""
