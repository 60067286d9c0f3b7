"""Where a row stands in the file that a person sent."""

from collections.abc import Collection, Mapping
from dataclasses import replace

from rondo_core.errors import RowInvalid
from rondo_core.model_spec import ModelSpec
from rondo_core.row_places import lines_of, told_row
from rondo_inference.domain.csv_rows import csv_header
from rondo_inference.page.forms import Sent
from rondo_inference.page.outcomes import Outcome

__all__ = ["placed", "told_refusal"]


def placed(spec: ModelSpec, sent: Sent, found: Outcome) -> Outcome:
    """Return what is shown with the lines of a CSV, as far as they are known: see `lines_of`."""
    at = _lines(spec, sent, {line.row for line in found.lines})
    lines = tuple(replace(line, file_line=at.get(line.row)) for line in found.lines)
    return replace(found, lines=lines)


def told_refusal(spec: ModelSpec, sent: Sent, refused: RowInvalid) -> str:
    """Say to a person why nothing of what was sent is answered."""
    line = _lines(spec, sent, {refused.row}).get(refused.row)
    return told_row(refused.row, refused.column, refused.rule, line)


def _lines(spec: ModelSpec, sent: Sent, rows: Collection[int]) -> Mapping[int, int]:
    """What is no CSV has no lines."""
    if sent.kind != "csv":
        return {}
    file = sent.csv()
    return lines_of(file, rows, header=bool(csv_header(file, spec)))
