"""Which row is meant, as people count: from 1, without the header, and by the line of their file.

Programs count from 0, by an index into what they sent: so do `RowInvalid` and every JSON. Whatever
a person reads gets its numbers here.
"""

import csv
import io
from collections.abc import Collection, Iterator
from itertools import islice

__all__ = ["COUNTED", "lines_of", "row_number", "told_row"]

COUNTED = "rows are counted from 1, without a header"
"""What a person has to know who is told a row without its line."""


def row_number(row: int) -> int:
    """Return what people call a row that programs count from 0.

    >>> row_number(0)
    1
    """
    return row + 1


def told_row(row: int, column: str | None, rule: str, line: int | None = None) -> str:
    """Say to a person what is wrong with a row.

    Args:
        row: counted from 0.
        column: its name, or None where all of the row is wrong.
        rule: what is broken.
        line: of the file, counted from 1; None where that is not known.

    >>> told_row(2, "age", "is empty", 4), told_row(2, None, "1 cells, but the header has 2")
    ("row 3 (line 4 of the file), column 'age': is empty", 'row 3: 1 cells, but the header has 2')
    """
    place = f"row {row_number(row)}" + ("" if line is None else f" (line {line} of the file)")
    return f"{place}: {rule}" if column is None else f"{place}, column {column!r}: {rule}"


def lines_of(body: bytes, rows: Collection[int], *, header: bool) -> dict[int, int]:
    r"""Return on which lines of a CSV rows stand; it is read up to the last of them.

    Below a cell with a line break no row has a line: there editors and spreadsheets, which count
    such a row once, no longer agree.

    Args:
        body: the file, which is CSV in UTF-8 as far as it is read.
        rows: counted from 0, without the header and empty lines.
        header: whether the first line that is not empty is none of the rows.

    Returns:
        Row -> line, counted from 1 with the header and empty lines.

    >>> lines_of(b"age\n1\n\n2\n", {0, 1}, header=True)
    {0: 2, 1: 4}
    >>> lines_of(b'name\n"a\nb"\nc\n', {0, 1}, header=True)
    {0: 2}
    """
    read = max(rows, default=-1) + 1 + header
    starts = enumerate(islice(_starts(body), read), start=-header)
    return {row: line for row, line in starts if row in rows}


def _starts(body: bytes) -> Iterator[int]:
    """Yield the line of each record as long as every record before it is one line."""
    reader = csv.reader(io.TextIOWrapper(io.BytesIO(body), "utf-8-sig", newline=""), strict=True)
    for line, cells in enumerate(reader, start=1):
        if cells:
            yield line
        if reader.line_num > line:
            return
