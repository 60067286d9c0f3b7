"""The bytes of an answer."""

from functools import lru_cache
from http import HTTPStatus
from itertools import starmap

from rondo_inference.contracts.messages import Answer

__all__ = ["written"]

_STATUS_LINES = {
    int(status): f"HTTP/1.1 {int(status)} {status.phrase}\r\n".encode() for status in HTTPStatus
}
_NO_CONTENT = 204
_BODYLESS = {_NO_CONTENT, 304}
_KEEP_ALIVE = {False: b"\r\n", True: b"connection: keep-alive\r\n\r\n"}
"""HTTP/1.0 closes unless it is told otherwise (RFC 9112, section 9.3)."""


@lru_cache(maxsize=256)
def _line(name: str, value: str) -> bytes:
    """Return a header's line; the same few come again and again."""
    return f"{name}: {value}\r\n".encode("latin-1", "replace")


def written(
    answer: Answer, date: bytes, *, method: str, keep_alive: bool, old: bool = False
) -> bytes:
    """Return what is sent.

    Args:
        answer: to a request.
        date: the header, with its line end.
        method: of the request; HEAD is answered without a body.
        keep_alive: whether the connection goes on afterwards.
        old: whether the caller speaks HTTP/1.0.
    """
    body = b"" if answer.status in _BODYLESS else answer.body
    parts = [_STATUS_LINES[answer.status], date]
    if answer.status != _NO_CONTENT:  # RFC 9110, section 8.6
        parts.append(b"content-length: %d\r\n" % len(body))
    if body:
        parts.append(_line("content-type", answer.media))
    if answer.headers:
        parts += starmap(_line, answer.headers.items())
    parts.append(_KEEP_ALIVE[old] if keep_alive else b"connection: close\r\n\r\n")
    if method != "HEAD":
        parts.append(body)
    return b"".join(parts)
