"""Large JSON, piece by piece: while one call reads all of it, no other thread of the process runs.

A text is cut between the members of its outermost list or object, so that each piece is read in a
millisecond or two; a member that is large itself is cut again. How deep a text is nested is seen
before any of it is read: twenty megabytes of brackets are ten million lists.
"""

import re
from collections.abc import Iterator
from typing import Any, Final

import msgspec
import numpy as np
from msgspec import Raw
from numpy.typing import NDArray

from rondo_core.errors import Invalid
from rondo_inference.domain.tensor_json import decode_json, encode_json

__all__ = ["LARGE_BYTES", "SKIMMED_BYTES", "blocks", "decode_value", "members", "pieces"]

_BLOCK_BYTES: Final = 64 * 1024
LARGE_BYTES: Final = 2 * _BLOCK_BYTES
"""A longer text is cut. A piece is longer only where it is one member that is."""

SKIMMED_BYTES: Final = 2 * 1024 * 1024
"""A text of which no objects are made, or a few, may be read by one call up to here: 5 ms."""

_LONGEST_KEY: Final = 4096
_LOWER = 0x20
"""With this bit a square bracket becomes the curly one of the same side."""
_KEY = re.compile(rb'\s*("[^"\\]*(?:\\.[^"\\]*)*")\s*:', re.DOTALL)
_RAW_MEMBERS = msgspec.json.Decoder(dict[str, Raw])


def decode_value(text: bytes, deepest: int) -> Any:  # noqa: ANN401  (it is what a stranger sent)
    """Do what `decode_json` does with a text of any length.

    Raises:
        Invalid: not JSON, or lists and objects are nested deeper than ``deepest``.

    Example:
        >>> decode_value(b"[[1], [2, 3]]", 2)
        [[1], [2, 3]]
    """
    if len(text) <= LARGE_BYTES:
        return decode_json(text)
    text = text.strip()
    match text[:1]:
        case b"[":
            return [value for block in blocks(text, deepest) for value in block]
        case b"{":
            return {key: decode_value(value, deepest - 1) for key, value in members(text, deepest)}
        case _:
            return decode_json(text)


def blocks(text: bytes, deepest: int) -> Iterator[list[Any]]:
    """Read the members of a list, as many at a time as are in a piece.

    Raises:
        Invalid: see `decode_value`.
    """
    for piece in pieces(text, deepest):
        if len(piece) > LARGE_BYTES:
            yield [decode_value(piece, deepest - 1)]
        else:
            yield decode_json(b"[" + piece + b"]")


def members(text: bytes, deepest: int) -> Iterator[tuple[str, bytes]]:
    """Return the keys of an object, each with the JSON of its value.

    Raises:
        Invalid: see `decode_value`; also a very long key.

    Example:
        >>> dict(members(b'{"a": [1, 2], "b": null}', 2))
        {'a': b'[1, 2]', 'b': b'null'}
    """
    for piece in pieces(text, deepest):
        if len(piece) <= LARGE_BYTES:
            yield from _small_members(b"{" + piece + b"}")
            continue
        found = _KEY.match(piece[:_LONGEST_KEY])
        if found is None:
            raise Invalid(f"the body is not JSON: no key begins at {piece[:20]!r}")
        yield decode_json(found[1]), piece[found.end() :]


def _small_members(text: bytes) -> Iterator[tuple[str, bytes]]:
    try:
        found = _RAW_MEMBERS.decode(text)
    except msgspec.DecodeError:  # perhaps a bare NaN
        yield from ((key, encode_json(value)) for key, value in decode_json(text).items())
        return
    yield from ((key, bytes(value)) for key, value in found.items())


def pieces(text: bytes, deepest: int) -> Iterator[bytes]:
    """Cut what is inside a list or an object, at commas between its members.

    Args:
        text: JSON, without space around it; a text without members is one empty piece.
        deepest: so many lists and objects may be inside each other, the outermost one counted.

    Returns:
        Several whole members each, together no longer than ``LARGE_BYTES``, or one that is longer.

    Raises:
        Invalid: nested deeper, no such text, or nothing between two commas that are cut at.

    Example:
        >>> list(pieces(b"[1, 2, [3, 4]]", 2))
        [b'1, 2', b' [3, 4]']
    """
    if text[:1] + text[-1:] not in {b"[]", b"{}"}:
        raise Invalid(f"the body is not JSON: {text[:20]!r} … {text[-20:]!r} is no list or object")
    start = 1
    for commas in _commas(text, deepest):
        for stop in (int(commas[0]), int(commas[-1])) if commas.size else ():
            alone = stop == commas[0]
            if stop >= start and (not alone or stop == commas[-1] or stop - start > _BLOCK_BYTES):
                yield _whole(text[start:stop])
                start = stop + 1
    last = text[start:-1]
    yield last if start == 1 else _whole(last)


def _whole(piece: bytes) -> bytes:
    if not piece or piece.isspace():
        raise Invalid("the body is not JSON: nothing stands before or after a comma")
    return piece


def _commas(text: bytes, deepest: int) -> Iterator[NDArray[np.intp]]:
    """Return the places of the commas of the outermost level, a block of the text at a time."""
    depth, quoted, at = 0, False, 0
    while at < len(text):
        block = _block(text, at)
        codes = np.frombuffer(block, np.uint8)
        brackets = codes | _LOWER
        steps = (brackets == ord("{")).view(np.int8) - (brackets == ord("}")).view(np.int8)
        commas = codes == ord(",")
        if quoted or b'"' in block:
            inside = ((np.cumsum(codes == ord('"'), dtype=np.int32) + quoted) & 1).astype(bool)
            steps[inside], commas[inside], quoted = 0, False, bool(inside[-1])
        depths = np.cumsum(steps, dtype=np.int32) + depth
        at, depth = at + len(block), int(depths[-1])
        ends = at >= len(text)
        if depths.max() > deepest:
            raise Invalid(f"the body is nested deeper than the {deepest} levels that fit here")
        if (depths[:-1] if ends else depths).min(initial=1) < 1 or (ends and (depth or quoted)):
            raise Invalid("the body is not JSON: its brackets do not close each other")
        yield np.flatnonzero(commas & (depths == 1)) + (at - len(block))


def _block(text: bytes, at: int) -> bytes:
    """Return the next block, in which no quote is escaped and no escape is begun."""
    block = text[at : at + _BLOCK_BYTES]
    if b"\\" not in block:
        return block
    if (len(block) - len(block.rstrip(b"\\"))) % 2:
        block = text[at : at + _BLOCK_BYTES + 1]
    return block.replace(b"\\\\", b"__").replace(b'\\"', b"__")
