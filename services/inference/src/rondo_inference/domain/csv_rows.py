"""CSV with a header line, as spreadsheets write it, to what a model takes."""

import csv
import io
from collections.abc import Sequence

from rondo_core.errors import Invalid, RowInvalid
from rondo_core.input_schema import ImageInput, first_repeated
from rondo_core.layout import Float32Array
from rondo_core.model_inputs import decode_rows
from rondo_core.model_spec import ModelSpec

__all__ = ["decode_csv"]


def decode_csv(body: bytes, spec: ModelSpec) -> Float32Array:
    """Read a CSV: UTF-8 (a byte-order mark is fine), commas, the column names in the first line.

    Columns may be in any order, and others than the model's are ignored. Empty lines are skipped.

    Args:
        body: the whole file.
        spec: of a model that takes a table.

    Returns:
        float32 (n, columns), n >= 1, owned by the caller.

    Raises:
        Invalid: the model takes pictures, the file is not CSV, or its header lacks a column.
        RowInvalid: names the row (0 is the line after the header), its column, value and rule.
    """
    if isinstance(spec.input, ImageInput):
        raise Invalid(f"model {spec.model!r} takes pictures, not the rows of a CSV")
    lines = _lines(body)
    if not lines:
        raise Invalid("the CSV is empty; its first line must name the columns")
    header = tuple(name.strip() for name in lines[0])
    places = _places(header, spec.input.names)
    rows = [_row(cells, header, places, index) for index, cells in enumerate(lines[1:])]
    if not rows:
        raise Invalid("the CSV has a header but no row")
    return decode_rows(spec, rows)


def _lines(body: bytes) -> list[list[str]]:
    try:
        text = body.decode("utf-8-sig")
        lines = csv.reader(io.StringIO(text, newline=""), strict=True)
        return [cells for cells in lines if cells]
    except UnicodeDecodeError as exc:
        raise Invalid(f"the CSV is not UTF-8: {exc.reason} at byte {exc.start}") from exc
    except csv.Error as exc:
        raise Invalid(f"not a CSV: {exc}") from exc


def _places(header: tuple[str, ...], wanted: Sequence[str]) -> list[int]:
    if (name := first_repeated(header)) is not None:
        raise Invalid(f"the CSV's header has column {name!r} twice")
    missing = [name for name in wanted if name not in header]
    if missing:
        raise Invalid(
            f"the CSV's header lacks column {', '.join(map(repr, missing))}; "
            f"it has {', '.join(map(repr, header))}"
        )
    return [header.index(name) for name in wanted]


def _row(cells: list[str], header: tuple[str, ...], places: Sequence[int], index: int) -> list[str]:
    if len(cells) != len(header):
        raise RowInvalid(index, None, f"{len(cells)} cells, but the header has {len(header)}")
    return [cells[place] for place in places]
