"""Is this file an update of this model, in the run's encoding, and is it the one that was declared?

Needs the file, what it must look like, and the declaration; neither the safetensors library nor any
parser sees a byte of a file that is right, and of one that is wrong only our own guarded reader
does.
"""

import mmap

from rondo_core.encodings import UpdateForm, form_of_file
from rondo_core.errors import HeaderInvalid, UpdateInvalid
from rondo_core.layout import first_difference
from rondo_core.safetensors_header import read_header
from rondo_core.weights import digest

__all__ = ["HEADER_SLACK_BYTES", "validate_update"]

HEADER_SLACK_BYTES = 64 * 1024
"""A header this much longer than the right one is still read to word the error; no longer one."""


def validate_update(
    data: bytes | memoryview | mmap.mmap, *, form: UpdateForm, size: int, sha256: str
) -> None:
    """Check an uploaded update: declared size, declared digest, header, length, finite values.

    Args:
        data: the whole file; only read.
        form: what the run's updates look like.
        size: bytes, as declared.
        sha256: lower-case hex, as declared.

    Raises:
        UpdateInvalid: with ``code`` wrong-size, wrong-digest, wrong-encoding, wrong-header (names
            the layer and the rule) or what `UpdateForm.fault` finds.
    """
    with memoryview(data) as view:
        if len(view) != size:
            raise UpdateInvalid("wrong-size", f"{len(view)} bytes, {size} declared")
        if (found := digest(view)) != sha256:
            raise UpdateInvalid("wrong-digest", f"SHA-256 {found}, {sha256} declared")
        if view[: len(form.prefix)] != form.prefix:
            raise _wrong_header(view, form)
        if size != form.size_bytes:
            rule = f"{size} bytes, an update of the model in {form.name} has {form.size_bytes}"
            raise UpdateInvalid("wrong-size", rule)
        if (fault := form.fault(view)) is not None:
            raise fault


def _wrong_header(view: memoryview, form: UpdateForm) -> UpdateInvalid:
    other = form_of_file(view, form.layout)
    if other is not None and other.name != form.name:
        rule = f"an update in {other.name}, but those of the run are in {form.name}"
        return UpdateInvalid("wrong-encoding", rule)
    return UpdateInvalid("wrong-header", _difference(view, form))


def _difference(view: memoryview, form: UpdateForm) -> str:
    try:
        entries = read_header(view, limit=len(form.header) + HEADER_SLACK_BYTES)
    except HeaderInvalid as exc:
        return str(exc)
    wanted = {name: (_word(dtype), shape) for name, dtype, shape in form.codec.tensors}
    found = {entry.name: (_word(entry.dtype), entry.shape) for entry in entries}
    fault = first_difference(wanted, found)
    if fault is not None:
        return f"{fault[0]}: {fault[1]}"
    for name, entry in zip(wanted, entries, strict=True):
        if name != entry.name:
            return f"{entry.name}: stands where {name} is expected"
    return "the same tensors, but not the assignment's header byte for byte"


def _word(dtype: str) -> str:
    return "float32" if dtype == "F32" else dtype
