"""Numbers beyond the bounds of their columns: which they are, and how that is told.

Bounds are compared as the model sees numbers, as float32, so that what was written as a bound is
within it.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from operator import itemgetter
from typing import Literal

import numpy as np
from msgspec import UNSET
from numpy.typing import NDArray

from rondo_core.errors import RowInvalid
from rondo_core.input_schema import Column, ImageInput, NumberColumn, OutOfRange, TableInput
from rondo_core.layout import Float32Array

__all__ = ["Beyond", "refuse_beyond", "shown", "tells", "told_by_row", "warned"]

_Bound = Literal["minimum", "maximum"]
_MOST_TOLD = 5
"""Columns that are told of one row; the others are counted."""


@dataclass(frozen=True, slots=True)
class Beyond:
    """Numbers of one column beyond one of its bounds.

    Attributes:
        column: its name.
        rule: which bound.
        rows: how many there are.
        first: the row of the first, counted from 0.
    """

    column: str
    rule: str
    rows: int
    first: int


def refuse_beyond(schema: TableInput, values: Float32Array) -> None:
    """Refuse numbers beyond the bounds of columns whose rule that is.

    Args:
        schema: the columns.
        values: float32 (n, columns).

    Raises:
        RowInvalid: names the first row, its column, the value and the bound.
    """
    first = next(_places(schema, values, "refuse"), None)
    if first is not None:
        row, position, told = first
        raise RowInvalid(row, schema.columns[position].name, told)


def warned(schema: TableInput | ImageInput, values: Float32Array) -> tuple[Beyond, ...]:
    """Return the numbers beyond bounds that are only told, by column and bound.

    Args:
        schema: what the model takes; pictures have no such bounds.
        values: as the model takes them, float32 (n, ...).
    """
    if not isinstance(schema, TableInput) or (bounds := _bounds(schema, "warn")) is None:
        return ()
    found = []
    sides: list[tuple[_Bound, NDArray[np.bool_]]] = [
        ("minimum", values < bounds[0]),
        ("maximum", values > bounds[1]),
    ]
    for word, outside in sides:
        if not outside.any():
            continue
        rows = outside.sum(axis=0)
        for position in np.flatnonzero(rows).tolist():
            column, first = schema.columns[position], int(outside[:, position].argmax())
            beyond = Beyond(column.name, _rule(column, word), int(rows[position]), first)
            found.append((position, beyond))
    return tuple(beyond for _, beyond in sorted(found, key=itemgetter(0)))


def shown(number: np.float32) -> str:
    """Return the shortest text that is this float32, which is what somebody sent, most likely.

    >>> shown(np.float32(0.1)), shown(np.float32(1234567)), f"{np.float32(0.1)}"
    ('0.1', '1234567.0', '0.10000000149011612')
    """
    return f"{float(str(number))}"


def tells(schema: TableInput | ImageInput) -> bool:
    """Say whether there are bounds beyond which numbers are only told."""
    return isinstance(schema, TableInput) and _bounds(schema, "warn") is not None


def told_by_row(schema: TableInput | ImageInput, values: Float32Array) -> Mapping[int, str]:
    """Return what is told of each row that has numbers beyond bounds that are only told."""
    cells: dict[int, list[str]] = defaultdict(list)
    if isinstance(schema, TableInput):
        for row, position, told in _places(schema, values, "warn"):
            cells[row].append(f"column {schema.columns[position].name!r}: {told}")
    return {row: _few(told) for row, told in cells.items()}


def _few(told: list[str]) -> str:
    more = [f"{len(told) - _MOST_TOLD} more"] if len(told) > _MOST_TOLD else []
    return "; ".join([*told[:_MOST_TOLD], *more])


def _places(
    schema: TableInput, values: Float32Array, rule: OutOfRange
) -> Iterator[tuple[int, int, str]]:
    """Yield row, column and what is told of the numbers beyond bounds of this rule, row by row."""
    bounds = _bounds(schema, rule)
    if bounds is None:
        return
    below = values < bounds[0]
    outside = below | (values > bounds[1])
    if not outside.any():
        return
    for row, position in np.argwhere(outside).tolist():
        word: _Bound = "minimum" if below[row, position] else "maximum"
        yield (
            row,
            position,
            f"{shown(values[row, position])} is {_rule(schema.columns[position], word)}",
        )


@lru_cache(maxsize=256)
def _bounds(schema: TableInput, rule: OutOfRange) -> NDArray[np.float32] | None:
    """Return float32 (2, columns), the least and the greatest of each; None if none is bounded."""
    limits = [
        _limits(column)
        if isinstance(column, NumberColumn) and column.beyond == rule
        else (-np.inf, np.inf)
        for column in schema.columns
    ]
    bounds = np.array(limits, np.float32).T
    return bounds if np.isfinite(bounds).any() else None


def _limits(column: NumberColumn) -> tuple[float, float]:
    low = -np.inf if column.minimum is UNSET else column.minimum
    return low, np.inf if column.maximum is UNSET else column.maximum


def _rule(column: Column, word: _Bound) -> str:
    """Say which bound, with the number as the spec has it."""
    return f"{'below' if word == 'minimum' else 'above'} {word} {getattr(column, word)}"
