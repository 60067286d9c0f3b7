"""Our own reader and writer of safetensors headers, the guard in front of the library's parser.

A file is 8 bytes (the length of the header, unsigned, little-endian), the header (JSON), the data.
The library checks offsets, but parses a header of any cost, keeps the last of two equal keys and
accepts any name. This reader looks at the length before anything else, so that hostile headers
cost nothing.

Source: the format section of the safetensors README (github.com/huggingface/safetensors).
"""

import json
import math
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from rondo_core.errors import HeaderInvalid

__all__ = [
    "LENGTH_BYTES",
    "HeaderEntry",
    "encode_header",
    "encode_typed_header",
    "is_tensor_name",
    "parse_header",
    "read_header",
]

LENGTH_BYTES = 8

_ALIGNMENT = 8  # the library pads the header with spaces so that the data is aligned
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*(/[A-Za-z0-9_.-]+)*\Z")
_NAME_CHARACTERS = 200
_MAX_RANK = 8
_ITEM_BYTES = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1,
    "U16": 2, "I16": 2, "F16": 2, "BF16": 2,
    "U32": 4, "I32": 4, "F32": 4,
    "U64": 8, "I64": 8, "F64": 8,
}  # fmt: skip
_FOREIGN_STARTS = {
    b"PK\x03\x04": "a zip archive (.npz, .keras or PyTorch)",
    b"\x89HDF": "HDF5",
    b"\x93NUM": "a NumPy .npy file",
    b"\x80\x02": "a pickle",
    b"\x80\x03": "a pickle",
    b"\x80\x04": "a pickle",
    b"\x80\x05": "a pickle",
    b"\x1f\x8b": "gzip",
}


@dataclass(frozen=True, slots=True)
class HeaderEntry:
    """A tensor as a header describes it; ``start`` and ``stop`` are bytes after the header."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int


def is_tensor_name(name: str) -> bool:
    """Say whether a name is one that we write: words of letters, digits, ``_.-`` parted by ``/``.

    Example:
        >>> is_tensor_name("dense_1/kernel"), is_tensor_name("../etc"), is_tensor_name("a b")
        (True, False, False)
    """
    return len(name) <= _NAME_CHARACTERS and _NAME.match(name) is not None


def encode_header(tensors: Iterable[tuple[str, tuple[int, ...]]]) -> bytes:
    """Return the JSON of float32 tensors that lie one after the other, padded to 8 bytes.

    Args:
        tensors: name and shape, in the order of the data.

    Example:
        >>> encode_header([("a/b", (2,))])
        b'{"a/b":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'
    """
    return encode_typed_header((name, "F32", shape) for name, shape in tensors)


def encode_typed_header(tensors: Iterable[tuple[str, str, tuple[int, ...]]]) -> bytes:
    """Return the JSON of tensors of any dtypes; otherwise as `encode_header`.

    Args:
        tensors: name, safetensors' word for the dtype, and shape, in the order of the data.
    """
    entries = {}
    start = 0
    for name, dtype, shape in tensors:
        stop = start + _ITEM_BYTES[dtype] * math.prod(shape)
        entries[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [start, stop]}
        start = stop
    data = json.dumps(entries, separators=(",", ":")).encode()
    return data + b" " * (-len(data) % _ALIGNMENT)


def read_header(
    data: bytes | memoryview, *, limit: int, size_bytes: int | None = None
) -> tuple[HeaderEntry, ...]:
    """Read the header of a safetensors file that nobody vouches for.

    Args:
        data: the file, or its first ``limit`` + 8 bytes and more.
        limit: the header may have this many bytes; a longer one is refused unread.
        size_bytes: of the whole file; None means that ``data`` is all of it.

    Returns:
        The tensors in the order of their data, without gap or overlap, covering the file exactly.

    Raises:
        HeaderInvalid: names the rule, and the tensor where there is one.

    Example:
        >>> read_header(b"PK" + bytes(30), limit=1000)
        Traceback (most recent call last):
        ...
        rondo_core.errors.HeaderInvalid: a header of 19280 bytes is over the limit of 1000
    """
    view = memoryview(data)
    size = len(view) if size_bytes is None else size_bytes
    if size < LENGTH_BYTES or len(view) < LENGTH_BYTES:
        raise HeaderInvalid(f"{size} bytes are too few for a safetensors file")
    length = int.from_bytes(view[:LENGTH_BYTES], "little")
    if length > limit:
        raise HeaderInvalid(_too_long(bytes(view[:LENGTH_BYTES]), length, limit))
    if length > min(size, len(view)) - LENGTH_BYTES:
        raise HeaderInvalid(f"a header of {length} bytes does not fit into {size} bytes")
    entries = parse_header(bytes(view[LENGTH_BYTES : LENGTH_BYTES + length]))
    follow = size - LENGTH_BYTES - length
    if entries[-1].stop != follow:
        raise HeaderInvalid(f"tensors cover {entries[-1].stop} bytes, but {follow} bytes follow")
    return entries


def parse_header(header: bytes) -> tuple[HeaderEntry, ...]:
    """Parse the JSON alone; the caller has bounded its length.

    Returns:
        At least one tensor, in the order of their data, without gap or overlap.

    Raises:
        HeaderInvalid: names the rule, and the tensor where there is one.
    """
    entries = sorted(
        (_entry(name, value) for name, value in _document(header).items()),
        key=lambda entry: (entry.start, entry.stop),
    )
    end = 0
    for entry in entries:
        if entry.start != end:
            kind = "overlaps the one before" if entry.start < end else "leaves a gap"
            raise HeaderInvalid(f"{entry.name}: starts at {entry.start} and {kind}, not at {end}")
        end = entry.stop
    return tuple(entries)


def _too_long(start: bytes, length: int, limit: int) -> str:
    for magic, kind in _FOREIGN_STARTS.items():
        if start.startswith(magic):
            return f"this is {kind}, not a safetensors file"
    return f"a header of {length} bytes is over the limit of {limit}"


def _document(text: bytes) -> dict[str, object]:
    """Parse JSON in which no object has a key twice, at any depth."""
    if not text.startswith(b"{"):
        raise HeaderInvalid("the header does not start with '{'")
    try:
        document = json.loads(text, object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError) as exc:
        raise HeaderInvalid(f"the header is not JSON: {exc}") from exc
    if not isinstance(document, dict) or not document:
        raise HeaderInvalid("the header names no tensor")
    return document


def _without_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        repeated = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise HeaderInvalid(f"{repeated[:_NAME_CHARACTERS]!r} appears twice in the header")
    return found


def _entry(name: str, value: object) -> HeaderEntry:
    if not is_tensor_name(name):
        raise HeaderInvalid(f"{name[:_NAME_CHARACTERS]!r} is not a tensor name")
    match value:
        case {
            "dtype": str(dtype), "shape": list(shape), "data_offsets": [start, stop], **others
        } if not others and _are_sizes([*shape, start, stop]):  # fmt: skip
            pass
        case _:
            raise HeaderInvalid(f"{name}: not exactly dtype, shape and data_offsets, as sizes")
    if dtype not in _ITEM_BYTES:
        raise HeaderInvalid(f"{name}: dtype {dtype[:_NAME_CHARACTERS]!r} is unknown")
    if len(shape) > _MAX_RANK:
        raise HeaderInvalid(f"{name}: {len(shape)} dimensions are over {_MAX_RANK}")
    if stop - start != _ITEM_BYTES[dtype] * math.prod(shape):
        raise HeaderInvalid(f"{name}: offsets {start}-{stop} do not fit {dtype} {shape}")
    return HeaderEntry(name, dtype, tuple(shape), start, stop)


def _are_sizes(values: list[object]) -> bool:
    """A size is a whole number that a file can have; a JSON true is none."""
    return all(type(value) is int and 0 <= value < 2**63 for value in values)
