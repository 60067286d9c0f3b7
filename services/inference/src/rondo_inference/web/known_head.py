"""The head that a caller says again and again: it is read once, and then only compared."""

from msgspec import Struct
from msgspec.structs import replace

from rondo_inference.web.message import Message

__all__ = ["KnownHead", "known_head"]

LONGEST = 4096
"""Bytes of a head that is kept, one for each connection."""

_END = b"\r\n\r\n"
_UNUSUAL = frozenset({"expect", "transfer-encoding"})


class KnownHead(Struct, frozen=True):
    """A head with a body of a certain length.

    Attributes:
        head: its bytes, up to the body.
        size_bytes: of the whole request.
        message: what the parser made of it, without a body.
    """

    head: bytes
    size_bytes: int
    message: Message

    def fits(self, data: bytes) -> bool:
        """Whether what came is one whole request with this head."""
        return len(data) == self.size_bytes and data.startswith(self.head)


def known_head(data: bytes, message: Message) -> KnownHead | None:
    """Return what is to be kept of a request; None where another with its head may differ.

    Args:
        data: what came at once.
        message: a whole request, as the parser read it, that began with it.
    """
    at = data.find(_END, 0, LONGEST)
    end = at + len(_END)
    if at < 0 or len(message.body) != 1 or data[end:] != message.body[0]:
        return None
    if not message.keep_alive or message.upgrade or not _UNUSUAL.isdisjoint(message.headers):
        return None
    known = replace(message, body=[], body_bytes=0, held=0)
    return KnownHead(data[:end], len(data), known)
