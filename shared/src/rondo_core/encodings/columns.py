"""Columns of a delta as they were sent: small until a block of them is looked at.

A slice of any of these is the block's float32 values. They are the definition of what an encoded
file means: every kernel that reads the codes themselves gives the same bits.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rondo_core.layout import Float32Array

__all__ = ["DeltaColumns", "Halves", "ScaledBytes", "Sparse"]


@dataclass(frozen=True, slots=True)
class Halves:
    """float16 or bfloat16: a sign, and the upper bits of a float32 once they are shifted.

    The exponent of a float16 is too small by 112 then; multiplying by 2^112 is exact, also for
    values below the smallest normal one.

    Attributes:
        codes: uint16 (columns,), read-only.
        shift: 13 for float16, 16 for bfloat16.
        factor: 2^112 for float16, 1 for bfloat16.
    """

    codes: NDArray[np.uint16]
    shift: np.uint32
    factor: np.float32

    @property
    def size(self) -> int:
        """How many columns there are."""
        return self.codes.size

    def __getitem__(self, block: slice) -> Float32Array:
        wide = self.codes[block].astype(np.uint32)
        bits = ((wide & 0x7FFF) << self.shift) | ((wide & 0x8000) << np.uint32(16))
        values: Float32Array = bits.view(np.float32)
        values *= self.factor
        return values


@dataclass(frozen=True, slots=True)
class ScaledBytes:
    """int8: whole numbers, each times the scale of its tensor, rounded to float32.

    Attributes:
        codes: int8 (columns,), read-only.
        scales: float32, one for each tensor that these columns touch.
        ends: for each of them the column, counted from the first of these, after its last one.
    """

    codes: NDArray[np.int8]
    scales: Float32Array
    ends: NDArray[np.int64]

    @property
    def size(self) -> int:
        """How many columns there are."""
        return self.codes.size

    def __getitem__(self, block: slice) -> Float32Array:
        start, stop, _ = block.indices(self.size)
        values = np.empty(stop - start, np.float32)
        for first, last, tensor in self.runs(start, stop):
            part, scale = slice(first - start, last - start), self.scales[tensor]
            np.multiply(self.codes[first:last], scale, out=values[part], dtype=np.float32)
        return values

    def runs(self, start: int, stop: int) -> Iterator[tuple[int, int, int]]:
        """Yield the parts of columns ``[start, stop)`` that have one scale, and which one."""
        tensor = int(np.searchsorted(self.ends, start, side="right"))
        while start < stop:
            end = min(int(self.ends[tensor]), stop)
            yield start, end, tensor
            start, tensor = end, tensor + 1


@dataclass(frozen=True, slots=True)
class Sparse:
    """top-k: some columns of a model, and zero in all others.

    Attributes:
        index: uint32, ascending, of the columns that were sent; all of the model's, so that it may
            be a mapped file of which only the pages that are looked at come into memory.
        values: float32, of the same.
        first: the model's number of the first of these columns.
        size: how many columns there are.
    """

    index: NDArray[np.uint32]
    values: Float32Array
    first: int
    size: int

    def __getitem__(self, block: slice) -> Float32Array:
        start, stop, _ = block.indices(self.size)
        values = np.zeros(stop - start, np.float32)
        places, sent = self.entries(start, stop)
        values[places] = sent
        return values

    def entries(self, start: int, stop: int) -> tuple[NDArray[np.uint32], Float32Array]:
        """Return what was sent of columns ``[start, stop)``: places from ``start`` on, values."""
        ends = np.array([self.first + start, self.first + stop], np.uint32)
        first, last = np.searchsorted(self.index, ends)  # of another type it would copy the index
        return self.index[first:last] - ends[0], self.values[first:last]


DeltaColumns = Float32Array | Halves | ScaledBytes | Sparse
