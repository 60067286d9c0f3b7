"""Rows that inference refuses, as it lists them, and as a person is told."""

import csv
import io
from collections.abc import Mapping, Sequence

import msgspec

from rondo_core.row_places import COUNTED, lines_of, told_row

__all__ = ["RefusedRow", "told_rows"]

_SHOWN_ROWS = 10
_SHOWN_CHARACTERS = 200


class RefusedRow(msgspec.Struct, frozen=True):
    """A row that does not fit, counted from 0, and the column unless all of it is wrong."""

    row: int
    rule: str
    column: str | None = None


def told_rows(rows: Sequence[RefusedRow], sent: bytes) -> tuple[str, list[str]]:
    """Say what is wrong with rows: a line, and where there are several rows, a line for each.

    Args:
        rows: at least one; few of them are told, the others are counted.
        sent: the CSV that they stand in; empty where they stand in something else.
    """
    shown = rows[:_SHOWN_ROWS]
    lines = _lines(shown, sent)
    told = [told_row(one.row, one.column, one.rule, lines.get(one.row)) for one in shown]
    counted = "" if all(one.row in lines for one in shown) else f" ({COUNTED})"
    if len(rows) == 1:
        return told[0] + counted, []
    told = [one[:_SHOWN_CHARACTERS] for one in told]
    if len(rows) > _SHOWN_ROWS:
        told.append(f"and {len(rows) - _SHOWN_ROWS} more that the server names")
    return f"rows do not fit{counted}", told


def _lines(rows: Sequence[RefusedRow], sent: bytes) -> Mapping[int, int]:
    """A first line that names a column of which something is told is a header; others may be."""
    columns = {one.column for one in rows}
    text = io.TextIOWrapper(io.BytesIO(sent), "utf-8-sig", newline="")
    first: list[str] = next(filter(None, csv.reader(text, strict=True)), [])
    if columns.isdisjoint(cell.strip() for cell in first):
        return {}
    return lines_of(sent, {one.row for one in rows}, header=True)
