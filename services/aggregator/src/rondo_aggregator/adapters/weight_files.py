"""Weights and updates in files of this machine: mapped to be read, written stretch by stretch."""

import hashlib
import mmap
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

import numpy as np

from rondo_core.encodings import UpdateForm, form_of_file
from rondo_core.errors import HeaderInvalid, Invalid, LayoutMismatch
from rondo_core.layout import FLOAT32, Float32Array, Layout
from rondo_core.weights import decode, first_not_finite, layout_of_file

__all__ = ["map_update", "map_weights", "read_layout", "write_weights"]


def read_layout(path: Path) -> Layout:
    """Read the layout of a safetensors file of float32 tensors.

    Raises:
        Invalid: it is not one; the text names the file.
    """
    try:
        return layout_of_file(_map(path))
    except (HeaderInvalid, LayoutMismatch) as exc:
        raise Invalid(f"{path}: {exc}") from exc


def map_weights(path: Path, layout: Layout) -> Float32Array:
    """Return all columns of a file, read-only and mapped.

    Raises:
        Invalid: another layout, or a value that is not finite; the text names the file.
    """
    try:
        flat = decode(_map(path), layout)
    except (HeaderInvalid, LayoutMismatch) as exc:
        raise Invalid(f"{path}: {exc}") from exc
    column = first_not_finite(flat)
    if column is not None:
        name, position = layout.locate(column)
        raise Invalid(f"{path}: {name}{list(position)} is {flat[column]}")
    return flat


def map_update(path: Path, layout: Layout) -> tuple[UpdateForm, memoryview]:
    """Return what an update looks like, by its own header, and its bytes, mapped.

    Raises:
        Invalid: it is of another layout, or has a fault; the text names the file.
    """
    data = _map(path)
    form = form_of_file(data, layout)
    if form is None:
        raise Invalid(f"{path}: the file does not start with the layout's header")
    if len(data) != form.size_bytes:
        raise Invalid(f"{path}: {len(data)} bytes, expected {form.size_bytes}")
    if (fault := form.fault(data)) is not None:
        raise Invalid(f"{path}: {fault.rule}")
    return form, data


def write_weights(
    paths: Sequence[Path], layout: Layout, stretches: Iterable[Sequence[Float32Array]]
) -> list[str]:
    """Write files side by side, all of them or none, and return the SHA-256 of each.

    Memory is one stretch of each, whatever the size of the model.

    Args:
        paths: the files; those that are there are replaced.
        layout: of all of them.
        stretches: columns in their order, one array for each file.
    """
    with ExitStack() as stack:
        files = [stack.enter_context(_new_file(path)) for path in paths]
        digests = [hashlib.sha256(layout.prefix) for _ in paths]
        for file in files:
            file.write(layout.prefix)
        for stretch in stretches:
            for file, digest, columns in zip(files, digests, stretch, strict=True):
                data = np.ascontiguousarray(columns, FLOAT32).data
                digest.update(data)
                file.write(data)
    return [digest.hexdigest() for digest in digests]


@contextmanager
def _new_file(path: Path) -> Iterator[IO[bytes]]:
    """Give a file that gets its name when it was written without an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".new-", delete=False) as file:
        temporary = Path(file.name)
        try:
            yield file
        except BaseException:
            temporary.unlink()
            raise
    temporary.chmod(0o644)
    temporary.replace(path)


def _map(path: Path) -> memoryview:
    try:
        with path.open("rb") as file:
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except (OSError, ValueError) as exc:  # ValueError: an empty file cannot be mapped
        raise Invalid(f"{path} cannot be read: {exc}") from exc
