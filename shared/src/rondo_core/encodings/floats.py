"""float32, float16 and bfloat16: one number a column, in the model's own tensors."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rondo_core.encodings.codecs import BLOCK_COLUMNS, Stretch, Tensors, not_finite
from rondo_core.encodings.columns import Halves
from rondo_core.errors import UpdateInvalid
from rondo_core.layout import FLOAT32, Float32Array, Layout
from rondo_core.weights import first_not_finite

__all__ = ["BFloat16", "Float16", "Float32"]

_CODES = np.dtype("<u2")


@dataclass(frozen=True, slots=True)
class Float32:
    """The delta as it is."""

    layout: Layout
    item_bytes: int = FLOAT32.itemsize
    head_bytes: int = 0

    @property
    def tensors(self) -> Tensors:
        """The model's own."""
        return _retyped(self.layout, "F32")

    def encode(self, flat: Float32Array, _rng: np.random.Generator, /) -> bytes:
        """Return the values themselves."""
        return np.ascontiguousarray(flat, FLOAT32).tobytes()

    def columns(self, stretch: Stretch) -> Float32Array:
        """Return the values as a view."""
        return np.frombuffer(stretch.body, FLOAT32)

    def fault(self, whole: Stretch) -> UpdateInvalid | None:
        """Find a value that is not finite."""
        values = self.columns(whole)
        column = first_not_finite(values)
        return None if column is None else not_finite(self.layout, column, float(values[column]))


@dataclass(frozen=True, slots=True)
class Float16:
    """The nearest float16 (IEEE 754 binary16), of two equally near ones the even.

    What is above 65,504 becomes infinite, and the update is refused.
    """

    layout: Layout
    item_bytes: int = _CODES.itemsize
    head_bytes: int = 0

    @property
    def tensors(self) -> Tensors:
        """The model's, as ``F16``."""
        return _retyped(self.layout, "F16")

    def encode(self, flat: Float32Array, _rng: np.random.Generator, /) -> bytes:
        """Return the rounded values."""
        with np.errstate(over="ignore"):
            return flat.astype("<f2").tobytes()

    def columns(self, stretch: Stretch) -> Halves:
        """Return the codes as a view."""
        codes = np.frombuffer(stretch.body, _CODES)
        return Halves(codes, np.uint32(13), np.float32(2.0**112))

    def fault(self, whole: Stretch) -> UpdateInvalid | None:
        """Find a value that is not finite."""
        column = _first_special(self.columns(whole).codes, np.uint16(0x7C00))
        if column is None:
            return None
        value = np.frombuffer(whole.body, "<f2")[column]
        return not_finite(self.layout, column, float(value))


@dataclass(frozen=True, slots=True)
class BFloat16:
    """The upper half of the float32, rounded to the nearest, of two equally near ones the even."""

    layout: Layout
    item_bytes: int = _CODES.itemsize
    head_bytes: int = 0

    @property
    def tensors(self) -> Tensors:
        """The model's, as ``BF16``."""
        return _retyped(self.layout, "BF16")

    def encode(self, flat: Float32Array, _rng: np.random.Generator, /) -> bytes:
        """Return the rounded values."""
        return _upper_halves(flat).tobytes()

    def columns(self, stretch: Stretch) -> Halves:
        """Return the codes as a view."""
        return Halves(np.frombuffer(stretch.body, _CODES), np.uint32(16), np.float32(1))

    def fault(self, whole: Stretch) -> UpdateInvalid | None:
        """Find a value that is not finite."""
        codes = self.columns(whole)
        column = _first_special(codes.codes, np.uint16(0x7F80))
        if column is None:
            return None
        return not_finite(self.layout, column, float(codes[column : column + 1][0]))


def _retyped(layout: Layout, dtype: str) -> Tensors:
    return tuple((tensor.name, dtype, tensor.shape) for tensor in layout.tensors)


def _upper_halves(flat: Float32Array) -> NDArray[np.uint16]:
    """Return the upper half of each float32, rounded.

    >>> [hex(code) for code in _upper_halves(np.float32([1, 1.00390625, 1.01171875, np.nan]))]
    ['0x3f80', '0x3f80', '0x3f82', '0x7fc0']
    """
    bits = np.ascontiguousarray(flat, FLOAT32).view(np.uint32)
    half = np.uint32(16)
    rounded = (bits + (np.uint32(0x7FFF) + ((bits >> half) & np.uint32(1)))) >> half
    return np.where(np.isnan(flat), np.uint32(0x7FC0), rounded).astype(_CODES)


def _first_special(codes: NDArray[np.uint16], exponent: np.uint16) -> int | None:
    """Return the first code whose exponent has all its bits: infinity, or no number."""
    for start in range(0, codes.size, BLOCK_COLUMNS):
        special = (codes[start : start + BLOCK_COLUMNS] & exponent) == exponent
        if special.any():
            return start + int(special.argmax())
    return None
