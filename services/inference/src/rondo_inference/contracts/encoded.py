"""Picture files as base64 in TF Serving's JSON: ``{"instances": [{"b64": …}, …]}``."""

from collections.abc import Iterator

from rondo_core.errors import Invalid
from rondo_inference.domain.json_pieces import LARGE_BYTES, blocks, members
from rondo_inference.domain.tensor_json import bytes_of_b64, decode_json

__all__ = ["encoded_files"]

_LEVELS = 4
"""The list, in it an object for each picture, in that ``{"image": {"b64": …}}``; one is spare."""


def encoded_files(body: bytes) -> list[bytes]:
    """Return the files.

    Raises:
        Invalid: no JSON of such a form.
    """
    return [_encoded(row) for row in _instances(body)]


def _instances(body: bytes) -> Iterator[object]:
    if len(body) <= LARGE_BYTES:
        message = decode_json(body)
        rows = message.get("instances") if isinstance(message, dict) else message
        if not isinstance(rows, list):
            raise _no_list()
        yield from rows
        return
    text = body.strip()
    if text[:1] == b"{":
        text = dict(members(text, 1 + _LEVELS)).get("instances", b"").strip()
    if text[:1] != b"[":
        raise _no_list()
    for block in blocks(text, _LEVELS):
        yield from block


def _no_list() -> Invalid:
    return Invalid('pictures as base64 are a list of "instances"')


def _encoded(row: object) -> bytes:
    match row:
        case {"image": dict() as inner, **rest} if not rest:
            return _encoded(inner)
        case {"b64": str() as text, **rest} if not rest:
            return bytes_of_b64("image", text)
        case _:
            raise Invalid('every instance must be {"b64": …} and nothing else, or none')
