"""A chunk's bytes to what a model takes: records that fit, and what is wrong with the others."""

import csv
import io
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from rondo_core.errors import Invalid, RowInvalid
from rondo_core.input_arrays import check_inputs
from rondo_core.input_schema import TableInput, first_repeated
from rondo_core.layout import Float32Array
from rondo_core.model_inputs import Row, decode_rows
from rondo_core.model_spec import ModelSpec
from rondo_inference.domain.csv_rows import decode_csv
from rondo_inference.domain.row_faults import NO_COLUMN, RowFault, names_of, other_column
from rondo_inference.domain.tensor_json import decode_json

__all__ = [
    "DecodePictures",
    "Records",
    "header_of",
    "other_columns",
    "read_csv",
    "read_lines",
    "read_pictures",
    "read_rows",
]

DecodePictures = Callable[[ModelSpec, Sequence[bytes]], Float32Array]
"""Reads picture files; raises ``RowInvalid`` for one that cannot be read."""


@dataclass(frozen=True, slots=True)
class Records:
    """The records of a chunk.

    Attributes:
        inputs: those that fit, in order, as the model takes them; float32 (fitting, ...).
        faults: the others, in order, counted from the chunk's first record.
        total: all of them.
    """

    inputs: Float32Array
    faults: tuple[RowFault, ...]
    total: int

    @property
    def fitting(self) -> list[int]:
        """Places of those that fit."""
        wrong = {fault.row for fault in self.faults}
        return [place for place in range(self.total) if place not in wrong]


def header_of(first: bytes, spec: ModelSpec) -> str:
    """Return a CSV's first record if it names columns; empty if it is a row already.

    Raises:
        Invalid: it names columns, and the model's are not all among them.
    """
    if not isinstance(spec.input, TableInput):
        return ""
    cells = _cells(first)[0]
    names = tuple(cell.strip() for cell in cells)
    known = set(names)  # a header may be as long as a record
    if known.isdisjoint(spec.input.names):
        with suppress(RowInvalid):  # a row whose fault is told with the others
            decode_csv(first, spec)
        return ""
    if (name := first_repeated(names)) is not None:
        raise Invalid(f"the CSV's header has column {name!r} twice")
    if missing := [name for name in spec.input.names if name not in known]:
        raise Invalid(f"the CSV's header lacks column {', '.join(map(repr, missing))}")
    return first.decode("utf-8-sig").rstrip("\r\n")


def other_columns(header: str, spec: ModelSpec) -> list[str]:
    """Return the columns that the model does not have, in their order; see `header_of`."""
    names = (cell.strip() for cells in _cells(header.encode()) for cell in cells)
    known = set(names_of(spec))
    return [name for name in names if name not in known]


def read_csv(body: bytes, header: str, spec: ModelSpec) -> Records:
    """Read lines of a CSV; empty ones are skipped.

    Args:
        body: whole records.
        header: the names, or empty where the cells are in the model's order.
        spec: what the model takes.

    Raises:
        Invalid: it is not CSV.
    """
    lines = _cells(body)
    if not header or not isinstance(spec.input, TableInput):
        return _records(spec, lines)
    names = [name.strip() for name in _cells(header.encode())[0]]
    place_of = {name: place for place, name in enumerate(names)}
    places = [place_of[name] for name in spec.input.names]
    rows: list[Row | RowFault] = [
        [cells[place] for place in places]
        if len(cells) == len(names)
        else RowFault(at, None, f"{len(cells)} cells, but the header has {len(names)}")
        for at, cells in enumerate(lines)
    ]
    return _records(spec, rows)


def _cells(body: bytes) -> list[list[str]]:
    try:
        text = io.StringIO(body.decode("utf-8-sig"), newline="")
        return [cells for cells in csv.reader(text, strict=True) if cells]
    except UnicodeDecodeError as exc:
        raise Invalid(f"not UTF-8: {exc.reason} at byte {exc.start}") from exc
    except csv.Error as exc:
        raise Invalid(f"not a CSV: {exc}") from exc


def read_lines(body: bytes, spec: ModelSpec) -> Records:
    """Read one JSON value a line; blank lines are skipped."""
    lines = [line for line in body.split(b"\n") if line.strip()]
    names = names_of(spec)
    return _records(spec, [_value(line, at, names) for at, line in enumerate(lines)])


def _value(line: bytes, at: int, names: Sequence[str]) -> Row | RowFault:
    try:
        found: Row = decode_json(line)
        other = other_column(found, names)
        return found if other is None else RowFault(at, other, NO_COLUMN)
    except (Invalid, UnicodeDecodeError) as exc:
        return RowFault(at, None, f"not a line of JSON: {exc}")


def read_rows(body: bytes, dtype: str, row: tuple[int, ...], spec: ModelSpec) -> Records:
    """Read rows of an array.

    Raises:
        Invalid: they have another shape than the model takes.
    """
    array = np.frombuffer(body, np.dtype(dtype)).reshape(-1, *row)
    wanted = spec.input.shape
    if row != wanted and np.prod(row, dtype=int) == np.prod(wanted, dtype=int):
        array = array.reshape(-1, *wanted)

    def read(places: Sequence[int]) -> Float32Array:
        return check_inputs(spec, array[places[0] : places[-1] + 1])

    return _sorted_out(spec, list(range(len(array))), read, [], len(array))


def read_pictures(files: Sequence[bytes], spec: ModelSpec, decode: DecodePictures) -> Records:
    """Read picture files, one a record."""

    def read(places: Sequence[int]) -> Float32Array:
        return decode(spec, [files[place] for place in places])

    return _sorted_out(spec, list(range(len(files))), read, [], len(files))


def _records(spec: ModelSpec, rows: Sequence[Row | RowFault]) -> Records:
    faults = [row for row in rows if isinstance(row, RowFault)]
    places = [at for at, row in enumerate(rows) if not isinstance(row, RowFault)]

    def read(chosen: Sequence[int]) -> Float32Array:
        return decode_rows(spec, [rows[at] for at in chosen])  # type: ignore[misc]  # no fault is

    return _sorted_out(spec, places, read, faults, len(rows))


def _sorted_out(
    spec: ModelSpec,
    places: list[int],
    read: Callable[[Sequence[int]], Float32Array],
    faults: list[RowFault],
    total: int,
) -> Records:
    """Read as much as possible at once: halve what has a fault until the fault is alone."""
    good, parts = [np.empty((0, *spec.input.shape), np.float32)], [places] if places else []
    while parts:
        part = parts.pop()
        try:
            good.append(read(part))
        except RowInvalid as exc:
            if len(part) == 1:
                faults.append(RowFault(part[0], exc.column, exc.rule))
            else:
                half = len(part) // 2
                parts += [part[half:], part[:half]]
    ordered = tuple(sorted(faults, key=lambda fault: fault.row))
    return Records(np.concatenate(good), ordered, total)
