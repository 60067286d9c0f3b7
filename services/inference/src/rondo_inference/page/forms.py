"""From a version's schema to the fields of a form, and from what the browser sends to rows."""

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote, unquote

import msgspec
import numpy as np
from msgspec import UNSET

from rondo_core.errors import Invalid, RowInvalid
from rondo_core.input_bounds import warned
from rondo_core.input_schema import CategoryColumn, Column, ImageInput, NumberColumn, TableInput
from rondo_core.layout import Float32Array
from rondo_core.model_inputs import decode_rows
from rondo_core.model_spec import ModelSpec
from rondo_inference.contracts.messages import Request, UnsupportedMedia
from rondo_inference.contracts.pictures import Fit, PixelBudget, decode_pictures
from rondo_inference.domain.csv_rows import csv_rows, ignored_columns
from rondo_inference.domain.multipart import Part, decode_multipart
from rondo_inference.domain.negotiation import media_parameter, media_type
from rondo_inference.domain.row_faults import RowFault, decode_good_rows

__all__ = ["Asked", "Field", "Sent", "fields", "has_canvas", "read", "read_sent", "sample_csv"]

MOST_FIELDS = 300
"""A table with more columns is filled in by nobody; it is asked by CSV."""

MOST_OPTIONS = 60
"""A longer list of words is searched by typing, not scrolled."""

LARGEST_CANVAS = 64
"""Pixels of a side up to which a drawing by hand makes sense."""

_COLUMN = "column."

Kind = Literal["row", "pictures", "csv", "json"]
_KINDS: tuple[Kind, ...] = ("row", "pictures", "csv", "json")


@dataclass(frozen=True, slots=True)
class Field:
    """One column of a row, as a person fills it in.

    Attributes:
        column: its name.
        at: where it stands on the page.
        key: what the form calls it; any name survives the way through a browser.
        value: what stands in it.
        words: what it may be; none: a number.
        fault: the rule that the value breaks.
        bounds: its column's least and greatest number as text, each may be empty.
        refused: whether a number beyond them is refused; else it is answered and marked.
        warning: which bound the value is beyond, where it is answered all the same.
    """

    column: str
    at: str
    key: str
    value: str
    words: tuple[str, ...] = ()
    fault: str = ""
    bounds: tuple[str, str] = ("", "")
    refused: bool = False
    warning: str = ""

    @property
    def range(self) -> str:
        """The bounds as a person reads them."""
        low, high = self.bounds
        if low and high:
            return f"{low} to {high}"
        return f"from {low}" if low else f"up to {high}" if high else ""

    @property
    def is_list(self) -> bool:
        """Whether the words are few enough to be scrolled."""
        return 0 < len(self.words) <= MOST_OPTIONS


@dataclass(frozen=True, slots=True)
class Sent:
    """What a browser sent.

    Attributes:
        kind: which of the page's forms.
        values: its fields by key.
        files: those that were chosen; views.
    """

    kind: Kind
    values: Mapping[str, str]
    files: tuple[Part, ...]

    @property
    def as_file(self) -> bool:
        """Whether the answer is to be a CSV file."""
        return self.values.get("as") == "csv"

    @property
    def row(self) -> dict[str, str]:
        """The values by column name."""
        return {
            unquote(key.removeprefix(_COLUMN)): value
            for key, value in self.values.items()
            if key.startswith(_COLUMN)
        }

    def csv(self) -> bytes:
        """Return a copy of the file that was chosen; raise Invalid where none was."""
        if not self.files:
            raise Invalid("no CSV file was chosen")
        return bytes(self.files[0].content)


@dataclass(frozen=True, slots=True)
class Asked:
    """Rows that were read.

    Attributes:
        inputs: those that fit, in order, as the model takes them.
        faults: why the others do not.
        names: the files that the rows are, or nothing.
        ignored: columns of a CSV that the model does not have.
    """

    inputs: Float32Array
    faults: tuple[RowFault, ...] = ()
    names: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()


def has_canvas(image: ImageInput) -> bool:
    """Whether the input is a small grey picture, which can be drawn."""
    return image.channels == 1 and max(image.height, image.width) <= LARGEST_CANVAS


def fields(spec: ModelSpec, table: TableInput, row: Mapping[str, str] | None) -> tuple[Field, ...]:
    """Return a form, filled with a row, or with the means of the training data and the first words.

    Every value of the row that breaks a rule says so, not only the first. A table of very many
    columns has no form.
    """
    if len(table.columns) > MOST_FIELDS:
        return ()
    if row is None:
        return tuple(
            _field(place, column, _usual(column)) for place, column in enumerate(table.columns)
        )
    return tuple(
        _field(place, column, row.get(column.name, ""), *_found(spec, column, row))
        for place, column in enumerate(table.columns)
    )


def _field(place: int, column: Column, value: str, fault: str = "", warning: str = "") -> Field:
    names = column.name, f"field-{place}", _COLUMN + quote(column.name, safe="")
    if isinstance(column, CategoryColumn):
        return Field(*names, value, column.values, fault)
    low, high = ("" if one is UNSET else f"{one}" for one in (column.minimum, column.maximum))
    refused = column.beyond == "refuse"
    return Field(*names, value, (), fault, (low, high), refused, warning)


def _usual(column: Column) -> str:
    return f"{column.mean:.6g}" if isinstance(column, NumberColumn) else column.values[0]


def sample_csv(table: TableInput) -> bytes:
    """Return a CSV of one row, to be filled in: what an untouched form sends."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table.names)
    writer.writerow(_usual(column) for column in table.columns)
    return text.getvalue().encode()


def _found(spec: ModelSpec, column: Column, row: Mapping[str, str]) -> tuple[str, str]:
    """Return the rule that a column's value breaks, and the bound that it is beyond."""
    alone = TableInput(columns=(column,))
    try:
        values = decode_rows(msgspec.structs.replace(spec, input=alone), [row])
    except RowInvalid as exc:
        return exc.rule, ""
    return "", next((one.rule for one in warned(alone, values)), "")


def read_sent(request: Request) -> Sent:
    """Read what a form of the page sent.

    Raises:
        UnsupportedMedia: it is no such form.
        Invalid: it is malformed, or none of ours.
    """
    header = request.header("content-type")
    if media_type(header) != "multipart/form-data":
        raise UnsupportedMedia("the page's forms are multipart/form-data")
    parts = decode_multipart(request.body, media_parameter(header, "boundary"))
    values = {
        part.name: bytes(part.content).decode("utf-8", "replace")
        for part in parts
        if not part.filename
    }
    kind = next((kind for kind in _KINDS if kind == values.get("kind")), None)
    if kind is None:
        raise Invalid(f"kind {values.get('kind')!r} is none of {', '.join(_KINDS)}")
    return Sent(kind, values, tuple(part for part in parts if part.filename))


def read(spec: ModelSpec, sent: Sent) -> Asked:
    """Return the rows that were sent; those that do not fit are set aside.

    Raises:
        Invalid: nothing was chosen, or the file as a whole breaks a rule.
    """
    if sent.kind == "pictures":
        return _pictures(spec, sent.files, "resize" if "resize" in sent.values else "refuse")
    if sent.kind != "csv":
        inputs, faults = decode_good_rows(spec, [sent.row])
        return Asked(inputs, tuple(faults))
    file = sent.csv()
    inputs, faults = decode_good_rows(spec, csv_rows(file, spec))
    return Asked(inputs, tuple(faults), ignored=ignored_columns(file, spec))


def _pictures(spec: ModelSpec, files: tuple[Part, ...], fit: Fit) -> Asked:
    if not files:
        raise Invalid("no picture was chosen or drawn")
    good: list[Float32Array] = []
    faults: list[RowFault] = []
    budget = PixelBudget()
    for at, file in enumerate(files):
        try:
            good.append(decode_pictures(spec, [file.content], fit=fit, budget=budget))
        except RowInvalid as exc:
            faults.append(RowFault(at, None, exc.rule))
    inputs = np.concatenate(good) if good else np.empty((0, *spec.input.shape), np.float32)
    return Asked(inputs, tuple(faults), tuple(file.filename for file in files))
