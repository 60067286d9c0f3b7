"""What is wrong with each row of a request, not only with the first."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from rondo_core.errors import RowInvalid
from rondo_core.layout import Float32Array
from rondo_core.model_inputs import Row, decode_rows
from rondo_core.model_spec import ModelSpec

__all__ = ["MOST_FAULTS", "RowFault", "RowFaults", "decode_every_row", "decode_good_rows"]

MOST_FAULTS = 100
"""So many are told; a file that has the wrong columns is wrong in every row."""

MOST_SET_ASIDE = 1000
"""So many rows may be set aside; then the file, not its rows, is what is wrong."""

_BLOCK_ROWS = 256


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


def decode_every_row(spec: ModelSpec, rows: Sequence[Row]) -> Float32Array:
    """Do what ``decode_rows`` does, and tell the faults of all rows.

    Raises:
        RowFaults: a row does not fit; at most ``MOST_FAULTS`` are listed.
    """
    try:
        return decode_rows(spec, rows)
    except RowInvalid as exc:
        raise RowFaults(_faults(spec, rows) or [_fault(exc, exc.row)]) from exc


def _faults(spec: ModelSpec, rows: Sequence[Row]) -> list[RowFault]:
    """Look at rows one by one only where a block of them has a fault: most blocks have none."""
    found: list[RowFault] = []
    for start in range(0, len(rows), _BLOCK_ROWS):
        block = rows[start : start + _BLOCK_ROWS]
        try:
            decode_rows(spec, block)
        except RowInvalid:
            found += _faults_of_block(spec, block, start)
        if len(found) >= MOST_FAULTS:
            break
    return found[:MOST_FAULTS]


def _faults_of_block(spec: ModelSpec, block: Sequence[Row], start: int) -> Iterator[RowFault]:
    for place, row in enumerate(block, start):
        try:
            decode_rows(spec, [row])
        except RowInvalid as exc:
            yield _fault(exc, place)


def _fault(exc: RowInvalid, row: int) -> RowFault:
    return RowFault(row, exc.column, exc.rule)


def decode_good_rows(
    spec: ModelSpec, rows: Sequence[Row | RowFault]
) -> tuple[Float32Array, list[RowFault]]:
    """Do what ``decode_rows`` does with the rows that fit, and set the others aside.

    Args:
        spec: see ``decode_rows``.
        rows: see there; what is a fault already stays one.

    Returns:
        The rows that fit in their order, float32, owned by the caller; the faults in their order.

    Raises:
        RowFaults: more than ``MOST_SET_ASIDE`` rows do not fit.
    """
    faults = [row for row in rows if isinstance(row, RowFault)]
    good = [decode_rows(spec, [])]
    parts = [[(at, row) for at, row in enumerate(rows) if not isinstance(row, RowFault)]]
    while parts:
        part = parts.pop()
        try:
            good.append(decode_rows(spec, [row for _, row in part]))
        except RowInvalid as exc:
            if len(part) == 1:
                faults.append(_fault(exc, part[0][0]))
            else:
                half = len(part) // 2
                parts += [part[half:], part[:half]]
        if len(faults) > MOST_SET_ASIDE:
            raise RowFaults(sorted(faults, key=_row_of)[:MOST_FAULTS])
    return np.concatenate(good), sorted(faults, key=_row_of)


def _row_of(fault: RowFault) -> int:
    return fault.row
