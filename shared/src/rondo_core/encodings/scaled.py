"""int8: whole numbers, and a scale for each tensor."""

from dataclasses import dataclass
from itertools import accumulate, pairwise

import numpy as np
from numpy.typing import NDArray

from rondo_core.encodings.codecs import BLOCK_COLUMNS, Stretch, Tensors
from rondo_core.encodings.columns import ScaledBytes
from rondo_core.errors import UpdateInvalid
from rondo_core.layout import FLOAT32, Float32Array, Layout

__all__ = ["LARGEST_SCALE", "SCALES", "Int8"]

LARGEST_SCALE = np.float32(np.finfo(np.float32).max / 128)
"""128 times this is finite, so that no code stands for an infinite value."""
SCALES = "scales"
_LARGEST_CODE = 127


@dataclass(frozen=True, slots=True)
class Int8:
    """Whole numbers from -127 to 127 times a scale of each tensor, rounded stochastically.

    A value between two neighbours becomes the upper one as likely as it is near to it: right on
    average (to 2^-24 of a scale, the grain of the random numbers), and never off by a whole scale.
    The scales come first, in the order of the tensors.

    Source: Alistarh et al., 2017, §3.1 (arXiv:1610.02132), by the largest magnitude of a tensor
    instead of its norm, as in their §5.
    """

    layout: Layout
    item_bytes: int = 1

    @property
    def head_bytes(self) -> int:
        """The length of the scales."""
        return FLOAT32.itemsize * len(self.layout.tensors)

    @property
    def tensors(self) -> Tensors:
        """The scales, then the model's tensors as ``I8``."""
        own = tuple((tensor.name, "I8", tensor.shape) for tensor in self.layout.tensors)
        return ((SCALES, "F32", (len(own),)), *own)

    @property
    def _ends(self) -> tuple[int, ...]:
        """The column after the last one of each tensor."""
        return tuple(accumulate(tensor.size for tensor in self.layout.tensors))

    def encode(self, flat: Float32Array, rng: np.random.Generator, /) -> bytes:
        """Return scales and codes; a tensor that is not finite has a scale that is not."""
        scales = np.empty(len(self.layout.tensors), FLOAT32)
        codes = np.zeros(self.layout.size, np.int8)
        for number, (start, stop) in enumerate(pairwise((0, *self._ends))):
            values = flat[start:stop]
            scales[number] = scale = _scale(values)
            if np.isfinite(scale) and scale:
                codes[start:stop] = _stochastic(values, scale, rng)
        return scales.tobytes() + codes.tobytes()

    def columns(self, stretch: Stretch) -> ScaledBytes:
        """Return the codes as a view, with the scales of the tensors that they are of."""
        codes = np.frombuffer(stretch.body, np.int8)
        ends = np.array(self._ends)
        first, last = np.searchsorted(ends, (stretch.start, stretch.stop - 1), side="right")
        touched = slice(int(first), int(last) + 1)
        scales = np.frombuffer(stretch.head, FLOAT32)[touched]
        return ScaledBytes(codes, scales, ends[touched] - stretch.start)

    def fault(self, whole: Stretch) -> UpdateInvalid | None:
        """Find a scale that is none; any byte is a code."""
        scales = np.frombuffer(whole.head, FLOAT32)
        wrong = ~((scales >= 0) & (scales <= LARGEST_SCALE))
        if not wrong.any():
            return None
        number = int(wrong.argmax())
        rule = f"the scale of {self.layout.tensors[number].name} is {scales[number]}"
        return UpdateInvalid("wrong-scale", f"{rule}, not from 0 to {LARGEST_SCALE:g}")


def _scale(values: Float32Array) -> np.float32:
    """Return the least float32 of which 127 are as much as the largest magnitude."""
    largest = np.float32(np.abs(values).max())  # NaN where there is one
    scale = np.float32(largest / np.float32(_LARGEST_CODE))
    if np.float64(scale) * _LARGEST_CODE < np.float64(largest):
        scale = np.nextafter(scale, np.float32(np.inf))
    return scale


def _stochastic(
    values: Float32Array, scale: np.float32, rng: np.random.Generator
) -> NDArray[np.int8]:
    """Round values / scale to one of its two neighbours; the sums are exact, so none is 128."""
    codes = np.empty(values.size, np.int8)
    for start in range(0, values.size, BLOCK_COLUMNS):
        block = slice(start, start + BLOCK_COLUMNS)
        exact = values[block].astype(np.float64) / np.float64(scale)
        codes[block] = np.floor(exact + rng.random(exact.size, np.float32))
    return codes
