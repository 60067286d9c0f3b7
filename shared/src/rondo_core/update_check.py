"""Is this file an update of this model, and is it the one that was declared?

Needs the file, the layout and the declaration; neither the safetensors library nor any parser sees
a byte of a file that is right, and of one that is wrong only our own guarded reader does.
"""

import mmap

from rondo_core.errors import HeaderInvalid, UpdateInvalid
from rondo_core.layout import Layout, first_difference
from rondo_core.safetensors_header import HeaderEntry, read_header
from rondo_core.weights import decode, digest, first_not_finite

__all__ = ["HEADER_SLACK_BYTES", "validate_update"]

HEADER_SLACK_BYTES = 64 * 1024
"""A header this much longer than the right one is still read to word the error; no longer one."""


def validate_update(
    data: bytes | memoryview | mmap.mmap, *, layout: Layout, size: int, sha256: str
) -> None:
    """Check an uploaded update: declared size, declared digest, header, length, finite values.

    Args:
        data: the whole file; only read.
        layout: of the round's base version.
        size: bytes, as declared.
        sha256: lower-case hex, as declared.

    Raises:
        UpdateInvalid: with ``code`` wrong-size, wrong-digest, wrong-header (names the layer and
            the rule) or not-finite (names the layer, the position and the value).
    """
    with memoryview(data) as view:
        if len(view) != size:
            raise UpdateInvalid("wrong-size", f"{len(view)} bytes, {size} declared")
        if (found := digest(view)) != sha256:
            raise UpdateInvalid("wrong-digest", f"SHA-256 {found}, {sha256} declared")
        if view[: layout.data_offset] != layout.prefix:
            raise UpdateInvalid("wrong-header", _difference(view, layout))
        if size != layout.size_bytes:
            raise UpdateInvalid("wrong-size", f"{size} bytes, the model has {layout.size_bytes}")
        column = first_not_finite(decode(view, layout))
        if column is not None:
            name, position = layout.locate(column)
            value = decode(view, layout)[column]  # no array outlives the view of a mapped file
            rule = f"{name} at {list(position)} is {value}, not a finite number"
            raise UpdateInvalid("not-finite", rule)


def _difference(view: memoryview, layout: Layout) -> str:
    try:
        entries = read_header(view, limit=len(layout.header) + HEADER_SLACK_BYTES)
    except HeaderInvalid as exc:
        return str(exc)
    fault = first_difference(layout, {entry.name: _kind(entry) for entry in entries})
    if fault is not None:
        return f"{fault[0]}: {fault[1]}"
    for tensor, entry in zip(layout.tensors, entries, strict=True):
        if tensor.name != entry.name:
            return f"{entry.name}: stands where {tensor.name} is expected"
    return "the same tensors, but not the assignment's header byte for byte"


def _kind(entry: HeaderEntry) -> tuple[str, tuple[int, ...]]:
    return "float32" if entry.dtype == "F32" else entry.dtype, entry.shape
