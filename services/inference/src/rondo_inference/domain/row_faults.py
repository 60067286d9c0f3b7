"""What is wrong with each row of a request, not only with the first."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from rondo_core.errors import RowInvalid
from rondo_core.input_arrays import check_inputs
from rondo_core.input_schema import ImageInput
from rondo_core.layout import Float32Array
from rondo_core.model_inputs import Row, decode_rows
from rondo_core.model_spec import ModelSpec

__all__ = [
    "MOST_FAULTS",
    "NO_COLUMN",
    "Block",
    "RowFault",
    "RowFaults",
    "decode_blocks",
    "decode_every_row",
    "decode_good_rows",
    "in_blocks",
    "names_of",
    "other_column",
]

MOST_FAULTS = 100
"""So many are told; a file that has the wrong columns is wrong in every row."""

MOST_SET_ASIDE = 1000
"""So many rows may be set aside; then the file, not its rows, is what is wrong."""

NO_COLUMN = "is no column of the model"
_BLOCK_CELLS = 16 * 1024
"""So many values are made numbers by one call, in which no other thread of the process runs."""


@dataclass(frozen=True, slots=True)
class RowFault:
    """One row that does not fit, counted from 0; ``column`` is None where all of it is wrong."""

    row: int
    column: str | None
    rule: str


class RowFaults(RowInvalid):
    """Several rows do not fit. As text it is the first fault; ``faults`` are all that are told."""

    def __init__(self, faults: Sequence[RowFault]) -> None:
        first = faults[0]
        super().__init__(first.row, first.column, first.rule)
        self.faults = tuple(faults)


Block = Sequence[Row | RowFault] | NDArray[np.generic]
"""Rows that one call turns into what the model takes; an array of them is what it takes already."""


def decode_every_row(spec: ModelSpec, rows: Block) -> Float32Array:
    """Do what ``decode_rows`` does, or ``check_inputs`` with an array, and tell all rows' faults.

    An object may have no other names than the model's columns.

    Raises:
        RowFaults: a row does not fit; at most ``MOST_FAULTS`` are listed.
    """
    if not isinstance(rows, np.ndarray):
        return decode_blocks(spec, _cut(spec, rows))
    try:
        return check_inputs(spec, rows)
    except RowInvalid:
        return decode_blocks(spec, (rows,))


def decode_blocks(spec: ModelSpec, blocks: Iterable[Block]) -> Float32Array:
    """Do what `decode_every_row` does with rows that are still being read.

    Args:
        spec: what the model takes.
        blocks: rows in their order, so many at a time that one call may read them; no more are
            asked for when ``MOST_FAULTS`` do not fit.

    Returns:
        The rows of all blocks, float32, owned by the caller unless they are one array that fits.

    Raises:
        RowFaults: a row does not fit.
    """
    parts: list[Float32Array] = []
    faults: list[RowFault] = []
    start = 0
    for block in blocks:
        try:
            parts.append(_decoded(spec, block))
        except RowInvalid as exc:
            faults += _faults_of(spec, block, start) or [_fault(exc, start + exc.row)]
            if len(faults) >= MOST_FAULTS:
                break
        start += len(block)
    if faults:
        raise RowFaults(faults[:MOST_FAULTS])
    return parts[0] if len(parts) == 1 else np.concatenate([decode_rows(spec, []), *parts])


def _cut(spec: ModelSpec, rows: Sequence[Row | RowFault]) -> Iterator[Block]:
    """One call for many rows lets no other thread run; rows are few enough, whatever they hold."""
    side = max(1, _BLOCK_CELLS // math.prod(spec.input.shape))
    if len(rows) <= side:
        yield rows
        return
    for start in range(0, len(rows), side):
        yield rows[start : start + side]


def _decoded(spec: ModelSpec, block: Block) -> Float32Array:
    if isinstance(block, np.ndarray):
        return check_inputs(spec, block)
    names = names_of(spec)
    for place, row in enumerate(block):
        if isinstance(row, RowFault):
            raise RowInvalid(place, row.column, row.rule)
        if (other := other_column(row, names)) is not None:
            raise RowInvalid(place, other, NO_COLUMN)
    return decode_rows(spec, block)  # type: ignore[arg-type]  # no fault is among them


def names_of(spec: ModelSpec) -> tuple[str, ...]:
    """Return the names that a row has as an object."""
    return (spec.input.tensor_name,) if isinstance(spec.input, ImageInput) else spec.input.names


def other_column(row: object, names: Sequence[str]) -> str | None:
    """Return a name of an object that has all names and more; what it lacks is told first."""
    if not isinstance(row, dict) or len(row) <= len(names) or any(one not in row for one in names):
        return None
    return next(str(name) for name in row if name not in names)


def _faults_of(spec: ModelSpec, block: Block, start: int) -> list[RowFault]:
    found = (one for one in _sorted_out(spec, block, start) if isinstance(one, RowFault))
    return list(islice(found, MOST_FAULTS))


def _sorted_out(spec: ModelSpec, block: Block, start: int) -> Iterator[Float32Array | RowFault]:
    """Read as much as possible at once: halve what has a fault until the fault is alone."""
    try:
        found = _decoded(spec, block)
    except RowInvalid as exc:
        if len(block) == 1:
            yield _fault(exc, start)
            return
    else:
        yield found
        return
    half = len(block) // 2
    yield from _sorted_out(spec, block[:half], start)
    yield from _sorted_out(spec, block[half:], start + half)


def _fault(exc: RowInvalid, row: int) -> RowFault:
    return RowFault(row, exc.column, exc.rule)


def decode_good_rows(
    spec: ModelSpec, rows: Iterable[Row | RowFault]
) -> tuple[Float32Array, list[RowFault]]:
    """Do what ``decode_rows`` does with the rows that fit, and set the others aside.

    Args:
        spec: see ``decode_rows``.
        rows: see there; what is a fault already stays one. Read a block at a time.

    Returns:
        The rows that fit in their order, float32, owned by the caller; the faults in their order.

    Raises:
        RowFaults: more than ``MOST_SET_ASIDE`` rows do not fit.
    """
    good, faults, start = [decode_rows(spec, [])], list[RowFault](), 0
    for block in in_blocks(spec, rows):
        for one in _sorted_out(spec, block, start):
            if isinstance(one, RowFault):
                faults.append(one)
            else:
                good.append(one)
        if len(faults) > MOST_SET_ASIDE:
            raise RowFaults(faults[:MOST_FAULTS])
        start += len(block)
    return np.concatenate(good), faults


def in_blocks(spec: ModelSpec, rows: Iterable[Row | RowFault]) -> Iterator[Block]:
    """Gather rows as they are read, so many as one call may turn into an array."""
    source = iter(rows)
    side = max(1, _BLOCK_CELLS // math.prod(spec.input.shape))
    while block := list(islice(source, side)):
        yield block
