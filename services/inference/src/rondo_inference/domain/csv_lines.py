"""The text of a CSV to its lines, whatever a model takes."""

import csv
import io
from collections.abc import Iterable, Iterator

from rondo_core.errors import Invalid
from rondo_inference.domain.spreadsheets import refuse_spreadsheet

__all__ = ["MOST_OTHERS", "csv_lines"]

MOST_OTHERS = 10_000
"""Columns that a table may have more than the model."""

_SMALL_BYTES = 64 * 1024


def csv_lines(body: bytes, width: int) -> Iterator[list[str]]:
    """Read a line when it is asked for: no call takes long, and of a faulty file few are read.

    Args:
        body: UTF-8 (a byte-order mark is fine), commas.
        width: cells of a line as the model takes it; it may have ``MOST_OTHERS`` more.

    Returns:
        The cells of each line that is not empty.

    Raises:
        Invalid: the file is not CSV; perhaps not before the line is read that is not.
    """
    refuse_spreadsheet(body)
    try:
        text: Iterable[str]
        if len(body) <= _SMALL_BYTES:
            text = io.StringIO(body.decode("utf-8-sig"), newline="")
        else:
            file = io.TextIOWrapper(io.BytesIO(body), encoding="utf-8-sig", newline="")
            text = _not_too_wide(file, width + MOST_OTHERS)
        yield from filter(None, csv.reader(text, strict=True))
    except UnicodeDecodeError as exc:
        raise _no_text(body, exc) from exc
    except csv.Error as exc:
        raise Invalid(f"not a CSV: {exc}") from exc


def _not_too_wide(lines: Iterable[str], most: int) -> Iterator[str]:
    """A line that is all of a large file would be millions of cells, made by one call."""
    for at, line in enumerate(lines, start=1):
        if line.count(",") > most:
            raise Invalid(f"line {at} of the CSV has over {most} cells")
        yield line


def _no_text(body: bytes, found: UnicodeDecodeError) -> Invalid:
    """Tell the place in the file; what was found is the place in a part of it."""
    try:
        body.decode()
    except UnicodeDecodeError as exc:
        found = exc
    return Invalid(f"the CSV is not UTF-8: {found.reason} at byte {found.start}")
