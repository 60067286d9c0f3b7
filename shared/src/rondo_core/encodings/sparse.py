"""top-k: the largest values and where they are."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rondo_core.encodings.codecs import BLOCK_COLUMNS, Stretch, Tensors, not_finite
from rondo_core.encodings.columns import Sparse
from rondo_core.errors import UpdateInvalid
from rondo_core.layout import FLOAT32, Float32Array, Layout

__all__ = ["INDEX", "LARGEST_INDEX", "TopK"]

INDEX, _VALUE = "index", "value"
_INDEX = np.dtype("<u4")
LARGEST_INDEX = int(np.iinfo(_INDEX).max)
_ENTRY_BYTES = _INDEX.itemsize + FLOAT32.itemsize


@dataclass(frozen=True, slots=True)
class TopK:
    """The columns of the largest magnitudes over the whole model, of equal ones the first.

    What is left out is for the sender to keep and to add to its next delta (error feedback).

    Attributes:
        entries: k, how many columns are sent.

    Source: Stich et al., 2018, definition 2.1 and Algorithm 1 (arXiv:1809.07599); Karimireddy et
    al., 2019, Algorithm 2 (arXiv:1901.09847).
    """

    layout: Layout
    entries: int
    item_bytes: int = 0

    @property
    def head_bytes(self) -> int:
        """The length of all entries."""
        return _ENTRY_BYTES * self.entries

    @property
    def tensors(self) -> Tensors:
        """The columns, ascending, and their values."""
        return ((INDEX, "U32", (self.entries,)), (_VALUE, "F32", (self.entries,)))

    def encode(self, flat: Float32Array, _rng: np.random.Generator, /) -> bytes:
        """Return the entries; a value that is no number counts as the largest."""
        index = _largest(flat, self.entries)
        return index.astype(_INDEX).tobytes() + flat[index].astype(FLOAT32, copy=False).tobytes()

    def columns(self, stretch: Stretch) -> Sparse:
        """Return the columns as views of all entries, of which a slice looks for its own."""
        index = np.frombuffer(stretch.head, _INDEX, self.entries)
        values = np.frombuffer(stretch.head, FLOAT32, offset=_INDEX.itemsize * self.entries)
        return Sparse(index, values, stretch.start, stretch.stop - stretch.start)

    def fault(self, whole: Stretch) -> UpdateInvalid | None:
        """Find an entry out of order, twice or out of range, or a value that is not finite."""
        sent = self.columns(whole)
        last = -1
        for start in range(0, self.entries, BLOCK_COLUMNS):
            block = sent.index[start : start + BLOCK_COLUMNS].astype(np.int64)
            steps = np.diff(block, prepend=last)
            if (steps < 1).any():
                place = int((steps < 1).argmax())
                before = int(block[place] - steps[place])
                rule = f"entry {start + place} is column {block[place]}, after column {before}"
                return UpdateInvalid("wrong-index", f"{rule}: columns ascend, each once")
            last = int(block[-1])
        if last >= self.layout.size:
            rule = f"column {last}, but the model has {self.layout.size}"
            return UpdateInvalid("wrong-index", rule)
        wrong = ~np.isfinite(sent.values)
        if not wrong.any():
            return None
        place = int(wrong.argmax())
        return not_finite(self.layout, int(sent.index[place]), float(sent.values[place]))


def _largest(flat: Float32Array, count: int) -> NDArray[np.intp]:
    """Return the columns of the largest magnitudes, ascending.

    >>> _largest(np.float32([1, -3, 2, -2, 0]), 2)
    array([1, 2])
    """
    magnitude = np.abs(flat)
    magnitude[np.isnan(magnitude)] = np.inf
    least = np.partition(magnitude, flat.size - count)[flat.size - count]
    above = np.flatnonzero(magnitude > least)
    equal = np.flatnonzero(magnitude == least)[: count - above.size]
    return np.sort(np.concatenate([above, equal]))
