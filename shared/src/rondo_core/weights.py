"""Weights as one flat float32 vector and as a safetensors file.

`Layout` says which tensor takes which columns, and is offered here too, since the two go together.
"""

import hashlib
from pathlib import Path

import numpy as np

from rondo_core.errors import HeaderInvalid, LayoutMismatch
from rondo_core.layout import FLOAT32, Float32Array, Layout, TensorSpec, check_flat
from rondo_core.safetensors_header import LENGTH_BYTES

__all__ = [
    "Float32Array",
    "Layout",
    "TensorSpec",
    "decode",
    "digest",
    "encode",
    "first_not_finite",
    "layout_of_file",
    "sha256_file",
]

_MAX_OWN_HEADER_BYTES = 16 * 1024 * 1024
_BLOCK_COLUMNS = 65_536  # 256 KiB: a block and its mask stay in the second-level cache


def encode(layout: Layout, flat: Float32Array) -> bytes:
    """Return the file of a flat vector (float32 (size,)); every safetensors reader takes it.

    Raises:
        LayoutMismatch: ``flat`` is not such a vector.

    Example:
        >>> layout = Layout((TensorSpec("a/b", (2,)),))
        >>> decode(encode(layout, np.array([1, 2], np.float32)), layout)
        array([1., 2.], dtype=float32)
    """
    check_flat(layout, flat)
    return b"".join((layout.prefix, np.ascontiguousarray(flat, FLOAT32).data))


def decode(data: bytes | memoryview, layout: Layout) -> Float32Array:
    """Return the flat vector of a file as a view of ``data``, read-only where ``data`` is.

    Raises:
        HeaderInvalid: the file does not start with the layout's header.
        LayoutMismatch: it is longer or shorter than the layout says.
    """
    view = memoryview(data)
    if view[: layout.data_offset] != layout.prefix:
        raise HeaderInvalid("the file does not start with the layout's header")
    if len(view) != layout.size_bytes:
        raise LayoutMismatch("(file)", f"{len(view)} bytes, expected {layout.size_bytes}")
    return np.frombuffer(view, FLOAT32, offset=layout.data_offset)


def layout_of_file(data: bytes | memoryview) -> Layout:
    """Read the layout of one of our own files, or of its start: a version, named by its digest.

    Raises:
        HeaderInvalid: as `Layout.from_header`; or the header is over 16 MiB or not all there.
    """
    view = memoryview(data)
    length = int.from_bytes(view[:LENGTH_BYTES], "little")
    if length > min(_MAX_OWN_HEADER_BYTES, len(view) - LENGTH_BYTES):
        raise HeaderInvalid(f"a header of {length} bytes in {len(view)} bytes")
    return Layout.from_header(bytes(view[LENGTH_BYTES : LENGTH_BYTES + length]))


def first_not_finite(flat: Float32Array) -> int | None:
    """Return the first column that is NaN or infinite, or None. Needs 64 KiB, whatever the size.

    Example:
        >>> first_not_finite(np.array([0, np.inf, np.nan], np.float32))
        1
    """
    finite = np.empty(min(flat.size, _BLOCK_COLUMNS), np.bool_)
    for start in range(0, flat.size, _BLOCK_COLUMNS):
        block = flat[start : start + _BLOCK_COLUMNS]
        mask = np.isfinite(block, out=finite[: block.size])
        if not mask.all():
            return start + int(mask.argmin())
    return None


def digest(data: bytes | memoryview) -> str:
    """Return the SHA-256 in lower-case hex."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file in lower-case hex; memory is one block."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
