"""Rows as people count them, and the lines of a file on which they stand."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rondo_core.row_places import lines_of, row_number, told_row


def test_people_count_from_one() -> None:
    assert row_number(0) == 1
    assert told_row(0, None, "is empty") == "row 1: is empty"
    assert told_row(2, "age", "is empty", 5) == "row 3 (line 5 of the file), column 'age': is empty"


@pytest.mark.parametrize(
    ("body", "header", "lines"),
    [
        (b"a\n1\n2\n3", True, {0: 2, 1: 3, 2: 4}),
        (b"1\n2\n3", False, {0: 1, 1: 2, 2: 3}),
        (b"\n\na\n1\n\n\n2\n", True, {0: 4, 1: 7}),
        (b"\xef\xbb\xbfa\r\n1\r\n2\r\n", True, {0: 2, 1: 3}),
        (b"a\r1\r2\r", True, {0: 2, 1: 3}),
        (b'a\n"1"\n"x ""y"", z"\n3\n', True, {0: 2, 1: 3, 2: 4}),
        (b'a\n1\n"2\n2"\n3\n4\n', True, {0: 2, 1: 3}),
        (b'"a\nb"\n1\n', True, {}),
    ],
)
def test_rows_stand_on_lines_until_a_cell_has_a_line_break(
    body: bytes, lines: dict[int, int], *, header: bool
) -> None:
    assert lines_of(body, range(9), header=header) == lines


def test_a_file_is_read_to_the_last_row_that_is_asked_for_alone() -> None:
    body = b"a\n1\n2\n3\n" + b'"no "CSV\n'

    assert lines_of(body, {0, 2}, header=True) == {0: 2, 2: 4}
    assert lines_of(body, set(), header=True) == {}


@given(st.lists(st.lists(st.text(st.sampled_from('a",\n '), max_size=4), max_size=2)))
def test_the_line_of_a_row_begins_with_its_first_cell(rows: list[list[str]]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL).writerows(rows)
    written = text.getvalue().split("\n")

    found = lines_of(text.getvalue().encode(), range(len(rows)), header=False)

    told = [row for row in rows if row]
    whole = next((at + 1 for at, row in enumerate(told) if "\n" in "".join(row)), len(told))
    assert list(found) == list(range(whole))
    for row, line in found.items():
        first = told[row][0].partition("\n")[0].replace('"', '""')
        assert written[line - 1].startswith(f'"{first}')
