"""CSV with a header line, as spreadsheets write it, to what a model takes."""

import base64
import csv
import io
import math
from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np

from rondo_core.errors import Invalid, RowInvalid
from rondo_core.input_schema import NumberColumn, TableInput, first_repeated
from rondo_core.layout import Float32Array
from rondo_core.model_spec import ModelSpec
from rondo_inference.domain.csv_lines import MOST_OTHERS, csv_lines
from rondo_inference.domain.row_faults import RowFault, decode_blocks, in_blocks, names_of
from rondo_inference.domain.tensors import BYTES, Signature, Tensor, TensorInfo, Tensors

_BLOCK_CELLS = 16 * 1024

__all__ = [
    "csv_header",
    "csv_rows",
    "decode_csv",
    "decode_plain_csv",
    "ignored_columns",
    "plain_csv",
]


def decode_csv(body: bytes, spec: ModelSpec) -> Float32Array:
    """Read a CSV: UTF-8 (a byte-order mark is fine), commas, the column names in the first line.

    Columns may be in any order, and others than the model's are ignored: see `ignored_columns`.
    Empty lines are skipped.
    Without a first line of names, as batch jobs of SageMaker send it, the cells are taken in the
    model's order; for pictures they are pixels, row by row.

    Args:
        body: the whole file.
        spec: what the model takes.

    Returns:
        What the model takes, float32 (n, ...), n >= 1, owned by the caller.

    Raises:
        Invalid: the file is not CSV, or its header lacks a column.
        RowInvalid: names the row (0 is the line after the header), its column, value and rule.
    """
    return decode_blocks(spec, in_blocks(spec, csv_rows(body, spec)))


def csv_rows(body: bytes, spec: ModelSpec) -> Iterator[list[str] | RowFault]:
    """Return the cells of each row in the model's order, or why the line is no row; see above.

    Raises:
        Invalid: the file is not CSV, or its header lacks a column; perhaps not before the line is
            read that is not CSV.
    """
    lines = csv_lines(body, math.prod(spec.input.shape))
    first = next(lines, None)
    if first is None:
        raise Invalid("the CSV is empty; its first line must name the columns")
    if not isinstance(spec.input, TableInput) or _is_row(first, spec.input):
        yield first
        yield from lines
        return
    header = tuple(name.strip() for name in first)
    places = _places(header, spec.input.names)
    index = -1
    for index, cells in enumerate(lines):
        yield _row(cells, header, places, index)
    if index < 0:
        raise Invalid("the CSV has a header but no row")


def csv_header(body: bytes, spec: ModelSpec) -> tuple[str, ...]:
    """Return the names in a CSV's first line; none where that is a row already. Body as above."""
    first = next(csv_lines(body, math.prod(spec.input.shape)), None)
    if first is None or not isinstance(spec.input, TableInput) or _is_row(first, spec.input):
        return ()
    return tuple(cell.strip() for cell in first)


def ignored_columns(body: bytes, spec: ModelSpec) -> tuple[str, ...]:
    """Return the columns of a CSV that the model does not have, in their order; body as above."""
    known = names_of(spec)
    return tuple(name for name in csv_header(body, spec) if name not in known)


def _is_row(cells: Sequence[str], table: TableInput) -> bool:
    """Whether the first line holds values already: as many as columns, and numbers for numbers.

    A cell may be empty, which is a fault of the row.
    """
    if len(cells) != len(table.columns) or not {cell.strip() for cell in cells}.isdisjoint(
        table.names
    ):
        return False
    filled = [
        (cell, column) for cell, column in zip(cells, table.columns, strict=True) if cell.strip()
    ]
    return bool(filled) and all(
        _is_number(cell) if isinstance(column, NumberColumn) else cell.strip() in column.values
        for cell, column in filled
    )


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _places(header: tuple[str, ...], wanted: Sequence[str]) -> list[int]:
    if (name := first_repeated(header)) is not None:
        raise Invalid(f"the CSV's header has column {name!r} twice")
    missing = [name for name in wanted if name not in header]
    if missing:
        raise Invalid(
            f"the CSV's header lacks column {', '.join(map(repr, missing))}; "
            f"it has {', '.join(map(repr, header))}{_hint(header)}"
        )
    return [header.index(name) for name in wanted]


def _hint(header: Sequence[str]) -> str:
    semicolons = len(header) == 1 and ";" in header[0]
    return "; its cells are parted by semicolons, save it with commas" if semicolons else ""


def _row(
    cells: list[str], header: tuple[str, ...], places: Sequence[int], index: int
) -> list[str] | RowFault:
    if len(cells) != len(header):
        return RowFault(index, None, f"{len(cells)} cells, but the header has {len(header)}")
    return [cells[place] for place in places]


def decode_plain_csv(body: bytes, signature: Signature) -> Tensor:
    """Read a CSV without header for a model that is only tensors: one input, one line a row.

    One column gives one value a row where the input has one axis.

    Raises:
        Invalid: the model has several inputs.
        RowInvalid: names the line, counted from 0, that has more or less cells than the first, or
            one that is not a number.
    """
    if len(signature.inputs) != 1:
        raise Invalid("a CSV is one input, and the model has several")
    (info,) = signature.inputs
    parts: list[Tensor] = []
    width, start = 0, 0
    sides = [side if side > 0 else MOST_OTHERS for side in info.shape[1:]]
    lines = csv_lines(body, math.prod(sides))
    while block := list(islice(lines, max(1, _BLOCK_CELLS // max(1, width)))):
        width = width or len(block[0])
        parts.append(_table(block, info, width, start))
        start += len(block)
    if not parts:
        raise Invalid("the CSV is empty")
    cells = np.concatenate(parts)
    if len(info.shape) == 1 and width == 1:
        return cells.reshape(-1)
    if len(info.shape) > 2 and -1 not in info.shape[1:]:  # noqa: PLR2004
        try:
            return cells.reshape(-1, *info.shape[1:])
        except ValueError as exc:
            raise Invalid(f"lines of {width} cells are no {list(info.shape)}") from exc
    return cells


def _table(lines: Sequence[Sequence[str]], info: TensorInfo, width: int, start: int) -> Tensor:
    for at, line in enumerate(lines, start):
        if len(line) != width:
            raise RowInvalid(at, None, f"{len(line)} cells, but the first line has {width}")
    if info.datatype == BYTES:
        return np.array([[cell.encode() for cell in line] for line in lines], object)
    try:
        numbers: Tensor = np.array(lines).astype(np.float64).astype(info.dtype)
    except ValueError as exc:
        at = next(at for at, line in enumerate(lines) if not all(map(_is_number, line)))
        raise RowInvalid(start + at, None, f"a cell is not a number: {exc}") from exc
    return numbers


def plain_csv(signature: Signature, outputs: Tensors) -> bytes:
    """Return the outputs of a model that is only tensors: a header, one line a row.

    Raises:
        Invalid: an output is no table.
    """
    header: list[str] = []
    columns: list[list[object]] = []
    for info, tensor in zip(signature.outputs, outputs, strict=True):
        if tensor.ndim not in {1, 2} or len(tensor) != len(outputs[0]):
            raise Invalid(f"output {info.name!r} of shape {list(tensor.shape)} is no table")
        table = tensor.reshape(len(tensor), -1)
        wide = tensor.ndim > 1
        header += [f"{info.name}_{at}" if wide else info.name for at in range(table.shape[1])]
        columns += [_cells(table[:, at]) for at in range(table.shape[1])]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(zip(*columns, strict=True))
    return text.getvalue().encode()


def _cells(column: Tensor) -> list[object]:
    """Bytes that are no text become base64."""
    if column.dtype != object:
        found: list[object] = column.tolist()
        return found
    return [_text(element) for element in column]


def _text(element: bytes) -> str:
    try:
        return element.decode()
    except UnicodeDecodeError:
        return base64.b64encode(element).decode()
