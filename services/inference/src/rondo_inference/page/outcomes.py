"""From a model's outputs to what a person sees: bars, lines of a table, a CSV file."""

import base64
import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
from PIL import Image

from rondo_core.input_bounds import tells, told_by_row
from rondo_core.input_schema import ImageInput
from rondo_core.layout import Float32Array
from rondo_core.model_spec import ModelSpec
from rondo_core.output_schema import Classes
from rondo_core.row_places import row_number
from rondo_inference.domain.answers import csv_answer, set_aside
from rondo_inference.domain.row_faults import RowFault
from rondo_inference.domain.spreadsheets import as_text
from rondo_inference.page.forms import Asked

__all__ = ["MOST_LINES", "ROWS_AT_ONCE", "Bar", "Line", "Outcome", "answered", "as_csv", "outcome"]

MOST_LINES = 100
"""So many rows are shown, and so many more of those that are refused; the file has them all."""

ROWS_AT_ONCE = 1024
"""Of so many rows a file's warnings are worded together."""

_BARS_ALONE = 10
_BARS_IN_A_TABLE = 3
_LARGEST_PICTURE = 96
_MOST_CHANNELS = 4


@dataclass(frozen=True, slots=True)
class Bar:
    """The probability of a label, 0..1."""

    label: str
    share: float

    @property
    def percent(self) -> str:
        """As a person reads it; also a length."""
        return f"{100 * self.share:.1f}%"


@dataclass(frozen=True, slots=True)
class Line:
    """One row that was asked.

    Attributes:
        row: counted from 0.
        name: the file that it is, or nothing.
        picture: what the model saw, as a ``data:`` address, or nothing.
        prediction: the label or the number; empty for a row that is refused.
        bars: the likeliest labels, the likeliest first.
        fault: why it is refused.
        warning: which of its numbers are beyond bounds, or nothing.
        file_line: of the CSV, counted from 1; None: there is none, or that is not known.
    """

    row: int
    name: str
    picture: str
    prediction: str
    bars: tuple[Bar, ...]
    fault: RowFault | None
    warning: str = ""
    file_line: int | None = None

    @property
    def number(self) -> int:
        """The row as people count."""
        return row_number(self.row)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a model said to all rows.

    Attributes:
        rows: how many were asked.
        refused: how many of them do not fit.
        what: what is predicted, for a number; empty for a label.
        lines: those that are shown.
        ignored: columns of a CSV that the model does not have.
    """

    rows: int
    refused: int
    what: str
    lines: tuple[Line, ...]
    ignored: tuple[str, ...] = ()


def answered(asked: Asked, outputs: Float32Array) -> tuple[Asked, Float32Array]:
    """Return rows and outputs of which every output is finite; the others are refused as well."""
    told, faults = set_aside(asked.faults, outputs)
    return replace(asked, inputs=asked.inputs[told], faults=faults), outputs[told]


def outcome(spec: ModelSpec, asked: Asked, outputs: Float32Array) -> Outcome:
    """Return what is shown of the answer to ``asked``: (n, outputs) for its n good rows, finite."""
    rows = len(asked.inputs) + len(asked.faults)
    faults = {fault.row: fault for fault in asked.faults}
    bars = _BARS_ALONE if rows == 1 else _BARS_IN_A_TABLE
    far = [fault.row for fault in asked.faults if fault.row >= MOST_LINES]
    shown = {*range(min(rows, MOST_LINES)), *far[:MOST_LINES]}
    lines: list[Line] = []
    good = 0
    for row in range(max(shown) + 1):
        fault = faults.get(row)
        if row in shown:
            name = asked.names[row] if asked.names else ""
            lines.append(
                Line(row, name, "", "", (), fault)
                if fault is not None
                else replace(
                    _good_line(spec, (row, name), asked.inputs[good], outputs[good], bars),
                    warning=told_by_row(spec.input, asked.inputs[good : good + 1]).get(0, ""),
                )
            )
        good += fault is None
    what = "" if isinstance(spec.output, Classes) else spec.output.name
    return Outcome(rows, len(faults), what, tuple(lines), asked.ignored)


def _good_line(
    spec: ModelSpec, place: tuple[int, str], values: Float32Array, output: Float32Array, most: int
) -> Line:
    picture = _picture(spec.input, values) if isinstance(spec.input, ImageInput) else ""
    if not isinstance(spec.output, Classes):
        return Line(*place, picture, f"{output[0]:.6g}", (), None)
    likeliest = np.argsort(-output, kind="stable")[:most].tolist()
    labels = spec.output.labels
    bars = tuple(Bar(labels[at], float(output[at])) for at in likeliest)
    return Line(*place, picture, labels[int(output.argmax())], bars, None)


def _picture(schema: ImageInput, values: Float32Array) -> str:
    """Return what the model saw as a small PNG; nothing for channels that are no picture."""
    if schema.channels > _MOST_CHANNELS:
        return ""
    share = (values - schema.minimum) / (schema.maximum - schema.minimum)
    pixels = np.round(share * 255).astype(np.uint8)
    picture = Image.fromarray(pixels[..., 0] if schema.channels == 1 else pixels)
    picture.thumbnail((_LARGEST_PICTURE, _LARGEST_PICTURE))
    file = io.BytesIO()
    picture.save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def as_csv(spec: ModelSpec, asked: Asked, outputs: Float32Array) -> bytes:
    """Return one line per row: its number from 1, what other doors' CSV has, and what is wrong.

    People open it in a spreadsheet: text that would be a formula there is marked as text.
    Where the model has bounds beyond which numbers are only told, there is a column for that too.
    """
    header, *good = csv.reader(io.StringIO(csv_answer(spec, outputs).decode(), newline=""))
    warnings = _warnings(spec, asked.inputs)
    answered = (
        [as_text(cells[0]), *cells[1:], "", as_text(warning)]  # the first may be a label
        for cells, warning in zip(good, warnings, strict=True)
    )
    names = [*map(as_text, header), "error", *(["warning"] if tells(spec.input) else [])]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["row", *(["file"] if asked.names else []), *names])
    rows = range(len(good) + len(asked.faults))
    for row, cells in zip(rows, _merged(asked.faults, answered, len(header)), strict=True):
        name = map(as_text, asked.names[row : row + 1])
        writer.writerow([row_number(row), *name, *cells[: len(names)]])
    return text.getvalue().encode()


def _warnings(spec: ModelSpec, inputs: Float32Array) -> Iterator[str]:
    """Tell of each row's numbers beyond bounds, a few rows at a time: all would fill memory."""
    for start in range(0, len(inputs), ROWS_AT_ONCE):
        part = inputs[start : start + ROWS_AT_ONCE]
        told = told_by_row(spec.input, part)
        yield from (told.get(at, "") for at in range(len(part)))


def _merged(
    faults: Sequence[RowFault], answered: Iterator[list[str]], width: int
) -> Iterator[list[str]]:
    """Put refused rows, which are in their order, among those that were answered."""
    for earlier, fault in enumerate(faults):
        before = fault.row if not earlier else fault.row - faults[earlier - 1].row - 1
        yield from islice(answered, before)
        where = "" if fault.column is None else f"column {fault.column!r}: "
        yield [*([""] * width), as_text(where + fault.rule), ""]
    yield from answered
