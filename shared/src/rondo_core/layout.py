"""The layout of a model's weights: which tensor takes which columns of the flat vector.

All files of a model start with the same bytes (`Layout.prefix`); then column j of the vector lies
at ``data_offset + 4 * j``. So a shard of columns is one range of bytes in every file.
"""

import hashlib
import math
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise

import numpy as np
from numpy.typing import NDArray

from rondo_core.errors import HeaderInvalid, LayoutMismatch
from rondo_core.safetensors_header import (
    LENGTH_BYTES,
    encode_header,
    is_tensor_name,
    parse_header,
)

__all__ = ["FLOAT32", "Float32Array", "Layout", "TensorSpec", "check_flat", "first_difference"]

Float32Array = NDArray[np.float32]
FLOAT32 = np.dtype("<f4")


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """A float32 tensor: ``layer/variable`` and its shape, without a batch axis."""

    name: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """How many columns of the flat vector it takes."""
        return math.prod(self.shape)


@dataclass(frozen=True)  # without slots: the cached properties live in the instance's dictionary
class Layout:
    """The tensors of a model in their order, which is the model's and not the alphabet's.

    Raises:
        LayoutMismatch: no tensor, a name twice or not allowed, or an empty tensor.

    Example:
        >>> layout = Layout((TensorSpec("dense/kernel", (2, 3)), TensorSpec("dense/bias", (3,))))
        >>> layout.size, layout.locate(7)
        (9, ('dense/bias', (1,)))
    """

    tensors: tuple[TensorSpec, ...]

    def __post_init__(self) -> None:
        seen: set[str] = set()
        for tensor in self.tensors:
            if not is_tensor_name(tensor.name):
                raise LayoutMismatch(tensor.name, "not a tensor name")
            if tensor.name in seen:
                raise LayoutMismatch(tensor.name, "appears twice")
            if min(tensor.shape, default=1) < 1:
                raise LayoutMismatch(tensor.name, f"shape {tensor.shape} holds nothing")
            seen.add(tensor.name)
        if not seen:
            raise LayoutMismatch("(no layer)", "a model has at least one tensor")

    @classmethod
    def from_header(cls, header: bytes) -> "Layout":
        """Read back what `header` gave, and nothing that this class would spell differently.

        Raises:
            HeaderInvalid: not a header, not float32, or spelled differently.
            LayoutMismatch: a tensor is empty.
        """
        entries = parse_header(header)
        layout = cls(tuple(TensorSpec(entry.name, entry.shape) for entry in entries))
        if layout.header != header:
            raise HeaderInvalid("not the canonical header of float32 tensors")
        return layout

    @cached_property
    def header(self) -> bytes:
        """The JSON of every file of this layout, padded with spaces to a multiple of 8 bytes."""
        return encode_header((tensor.name, tensor.shape) for tensor in self.tensors)

    @cached_property
    def prefix(self) -> bytes:
        """What every file starts with, byte for byte: the header's length and the header."""
        return len(self.header).to_bytes(LENGTH_BYTES, "little") + self.header

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the header, lower-case hex: the layout's name."""
        return hashlib.sha256(self.header).hexdigest()

    @cached_property
    def _starts(self) -> tuple[int, ...]:
        """The first column of each tensor, and after them the number of all columns."""
        return (0, *accumulate(tensor.size for tensor in self.tensors))

    @property
    def size(self) -> int:
        """How many columns (float32 positions) the flat vector has."""
        return self._starts[-1]

    @property
    def data_offset(self) -> int:
        """Where column 0 lies in a file, in bytes; a multiple of 8."""
        return len(self.prefix)

    @property
    def size_bytes(self) -> int:
        """The length of every file of this layout."""
        return self.data_offset + FLOAT32.itemsize * self.size

    def locate(self, column: int) -> tuple[str, tuple[int, ...]]:
        """Name the tensor of a column, and the position in it."""
        index = bisect_right(self._starts, column) - 1
        tensor = self.tensors[index]
        position = np.unravel_index(column - self._starts[index], tensor.shape)
        return tensor.name, tuple(int(axis) for axis in position)

    def to_arrays(self, flat: Float32Array) -> dict[str, Float32Array]:
        """Return the tensors by name, as views of ``flat`` (float32 (size,)), in order.

        Raises:
            LayoutMismatch: ``flat`` is not such a vector.
        """
        check_flat(self, flat)
        return {
            tensor.name: flat[start:stop].reshape(tensor.shape)
            for tensor, (start, stop) in zip(self.tensors, pairwise(self._starts), strict=True)
        }

    def flatten(self, arrays: Mapping[str, NDArray[np.generic]]) -> Float32Array:
        """Return one float32 vector of ``size``, owned by the caller; the mapping's order is free.

        Values are copied as they are, also NaN: `first_not_finite` finds those.

        Raises:
            LayoutMismatch: names the layer that is missing, extra, or of another shape or dtype.
        """
        found = {name: (array.dtype.name, array.shape) for name, array in arrays.items()}
        wanted = {tensor.name: (FLOAT32.name, tensor.shape) for tensor in self.tensors}
        if (fault := first_difference(wanted, found)) is not None:
            raise LayoutMismatch(*fault)
        return np.concatenate([np.ravel(arrays[tensor.name]) for tensor in self.tensors])


def check_flat(layout: Layout, flat: Float32Array) -> None:
    """Refuse what is not one float32 vector of the layout's size.

    Raises:
        LayoutMismatch: names the dtype and shape found.
    """
    if flat.dtype != FLOAT32 or flat.shape != (layout.size,):
        rule = f"{flat.dtype} {flat.shape}, expected float32 {(layout.size,)}"
        raise LayoutMismatch("(flat vector)", rule)


def first_difference(
    wanted: Mapping[str, tuple[str, tuple[int, ...]]],
    found: Mapping[str, tuple[str, tuple[int, ...]]],
) -> tuple[str, str] | None:
    """Say where tensors differ from those that are wanted: the layer and the rule, or None.

    Args:
        wanted: tensor name -> dtype and shape.
        found: the same, in any order.

    Example:
        >>> first_difference({"a/b": ("float32", (2,))}, {"a/b": ("float32", (3,))})
        ('a/b', 'shape (3,), expected (2,)')
    """
    for name, (wanted_dtype, wanted_shape) in wanted.items():
        if name not in found:
            return name, "missing"
        dtype, shape = found[name]
        if dtype != wanted_dtype:
            return name, f"dtype {dtype}, expected {wanted_dtype}"
        if shape != wanted_shape:
            return name, f"shape {shape}, expected {wanted_shape}"
    extra = next((name for name in found if name not in wanted), None)
    return None if extra is None else (extra, "not a layer of the model")
