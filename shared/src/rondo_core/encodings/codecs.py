"""What lies behind the header of an encoded update, and how a float32 delta becomes it."""

from typing import NamedTuple, Protocol

import numpy as np

from rondo_core.encodings.columns import DeltaColumns
from rondo_core.errors import UpdateInvalid
from rondo_core.layout import Float32Array, Layout

__all__ = ["BLOCK_COLUMNS", "Codec", "Stretch", "Tensors", "not_finite"]

BLOCK_COLUMNS = 65_536
"""Checked and rounded at once, so that memory is a block, whatever the model."""

Tensors = tuple[tuple[str, str, tuple[int, ...]], ...]
"""Name, safetensors' word for the dtype, and shape, in the order of the data."""


class Stretch(NamedTuple):
    """Some columns of a file, as bytes.

    Attributes:
        head: what every reader of the file needs.
        body: the places of the columns.
        start: the model's number of the first of them.
        stop: of the one after the last.
    """

    head: memoryview
    body: memoryview
    start: int
    stop: int


class Codec(Protocol):
    """One way to write the columns of a layout: a head, then a place for each column.

    Pure: chance is an argument.
    """

    @property
    def layout(self) -> Layout:
        """The layout of the model."""
        ...

    @property
    def item_bytes(self) -> int:
        """The length of a place; 0 where all is in the head."""
        ...

    @property
    def head_bytes(self) -> int:
        """The length of the head."""
        ...

    @property
    def tensors(self) -> Tensors:
        """What the file's header says."""
        ...

    def encode(self, flat: Float32Array, rng: np.random.Generator, /) -> bytes:
        """Return head and places.

        What is not finite, or cannot be written, becomes something that `fault` refuses.
        """
        ...

    def columns(self, stretch: Stretch) -> DeltaColumns:
        """Return the columns as views."""
        ...

    def fault(self, whole: Stretch) -> UpdateInvalid | None:
        """Say what is wrong with the data of a file whose header and length are right."""
        ...


def not_finite(layout: Layout, column: int, value: float) -> UpdateInvalid:
    """Say which value of an update is not a finite number."""
    name, position = layout.locate(column)
    rule = f"{name} at {list(position)} is {value}, not a finite number"
    return UpdateInvalid("not-finite", rule)
