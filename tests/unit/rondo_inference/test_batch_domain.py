"""Cutting, reading and writing: pure functions of bytes."""

import io

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rondo_core.errors import Invalid
from rondo_core.object_folders import ListedObject
from rondo_inference.contracts.pictures import decode_pictures
from rondo_inference.domain.batch_media import accepted, content_type
from rondo_inference.domain.batch_output import (
    ScoredChunk,
    failure_lines,
    output_head,
    output_lines,
    pack,
    unpack,
)
from rondo_inference.domain.batch_plan import (
    cut_files,
    cut_lines,
    cut_rows,
    read_npy_head,
)
from rondo_inference.domain.batch_records import (
    header_of,
    read_csv,
    read_lines,
    read_pictures,
    read_rows,
)
from rondo_inference.domain.row_faults import RowFault
from rondo_inference.domain.spreadsheets import as_text
from tests.unit.rondo_inference.exported import PRICES, SHAPES


def cut(
    data: bytes, *, chunk_bytes: int = 8, block: int = 5, quotes: bool = True, record: int = 100
) -> list[bytes]:
    blocks = [data[at : at + block] for at in range(0, len(data), block)]
    found = cut_lines(blocks, start=0, chunk_bytes=chunk_bytes, record_bytes=record, quotes=quotes)
    return [data[start:stop] for start, stop in found]


def npy(array: object, **options: bool) -> bytes:
    file = io.BytesIO()
    np.save(file, np.asarray(array), **options)
    return file.getvalue()


@given(
    lines=st.lists(st.binary(max_size=12).map(lambda line: line.replace(b"\n", b""))),
    chunk_bytes=st.integers(1, 30),
    block=st.integers(1, 20),
)
def test_chunks_are_whole_lines_and_all_of_the_input(
    lines: list[bytes], chunk_bytes: int, block: int
) -> None:
    data = b"\n".join(lines)

    chunks = cut(data, chunk_bytes=chunk_bytes, block=block, quotes=False)

    assert b"".join(chunks) == data
    assert all(chunk.endswith(b"\n") for chunk in chunks[:-1])
    assert all(len(chunk) >= chunk_bytes for chunk in chunks[:-1])
    assert all(len(chunk) for chunk in chunks)


@given(block=st.integers(1, 9))
def test_a_line_end_between_quotes_does_not_end_a_record(block: int) -> None:
    data = b'1,"a\nb"\n2,"say ""\n"""\n3,c\n'

    assert cut(data, chunk_bytes=1, block=block) == [b'1,"a\nb"\n', b'2,"say ""\n"""\n', b"3,c\n"]


@pytest.mark.parametrize("data", [b"a\n" + b"x" * 50 + b"\nb\n", b"a\n" + b"x" * 50])
def test_a_record_that_is_too_long_is_refused_by_its_place(data: bytes) -> None:
    with pytest.raises(Invalid, match="begins at byte 2 is longer than 20 bytes"):
        cut(data, record=20)


def test_cutting_begins_behind_the_header() -> None:
    found = cut_lines([b"1\n2\n"], start=5, chunk_bytes=1, record_bytes=9, quotes=True)

    assert list(found) == [(5, 7), (7, 9)]


@pytest.mark.parametrize("dtype", ["<f4", ">f8", "u1", "<i8", "?"])
def test_rows_of_an_array_are_found_without_reading_it(dtype: str) -> None:
    array = np.arange(10).reshape(5, 2).astype(dtype)
    data = npy(array)

    head = read_npy_head(data[:200])
    ranges = cut_rows(head, len(data), chunk_bytes=3 * array.itemsize * 2)

    assert head.shape == (5, 2)
    rows = [np.frombuffer(data[a:b], head.dtype).reshape(-1, 2) for a, b in ranges]
    assert [len(one) for one in rows] == [3, 2]
    assert np.array_equal(np.concatenate(rows), array)


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"", "not a .npy file"),
        (b"\x93NUMPY\x09\x00", "not a .npy file"),
        (b"\x93NUMPY\x01\x00\x04\x00junk", "not a .npy file"),
        (npy(["a", "b"]), "send numbers"),
        (npy(np.array([None]), allow_pickle=True), "send numbers"),
        (npy(np.zeros((0, 2))), "has no rows"),
        (npy(np.float32(1)), "has no rows"),
        (npy(np.zeros((2, 3, 4))).replace(b"(2, 3, 4)", b"(2,-3,-4)"), "has no rows"),
        (npy(np.asfortranarray(np.zeros((2, 3)))), "column by column"),
    ],
)
def test_an_array_that_is_not_read_here_is_refused(data: bytes, complaint: str) -> None:
    with pytest.raises(Invalid, match=complaint):
        read_npy_head(data)


def test_an_array_that_is_cut_off_is_refused() -> None:
    data = npy(np.zeros((4, 2), np.float32))

    with pytest.raises(Invalid, match=f"has {len(data) - 1} bytes, its header says {len(data)}"):
        cut_rows(read_npy_head(data), len(data) - 1, chunk_bytes=100)


def test_files_are_gathered_up_to_the_bytes_of_a_chunk() -> None:
    files = [ListedObject(str(at), size) for at, size in enumerate([5, 5, 30, 1, 9])]

    assert cut_files(files, chunk_bytes=10) == ((0, 2), (2, 3), (3, 5))
    assert cut_files([], chunk_bytes=10) == ()


@pytest.mark.parametrize(
    ("first", "header"),
    [
        (b"rooms,town\r\n", "rooms,town"),
        (b"\xef\xbb\xbftown, rooms ,other\n", "town, rooms ,other"),
        (b"3,Bonn\n", ""),
        (b"1e99,Bonn\n", ""),
    ],
)
def test_the_first_record_is_a_header_if_it_names_columns(first: bytes, header: str) -> None:
    assert header_of(first, PRICES) == header


@pytest.mark.parametrize(
    ("first", "complaint"),
    [
        (b"rooms\n", "lacks column 'town'"),
        (b"a,b\n", "lacks column 'rooms', 'town'"),
        (b"rooms,town,rooms\n", "column 'rooms' twice"),
        (b"\xff,\n", "not UTF-8"),
        (b'"rooms', "not a CSV"),
    ],
)
def test_a_header_that_is_not_the_models_is_refused(first: bytes, complaint: str) -> None:
    with pytest.raises(Invalid, match=complaint):
        header_of(first, PRICES)


def test_pictures_as_csv_have_no_header() -> None:
    assert header_of(b"a,b,c,d\n", SHAPES) == ""
    assert read_csv(b"0,1,2,3\n", "", SHAPES).inputs.shape == (1, 2, 2, 1)


def test_rows_of_csv_are_read_by_name_and_their_faults_told_by_place() -> None:
    body = b"Aa,1,x\n\nBonn,many,x\nBonn,2\nParis,3,x\nBonn,4,x"

    found = read_csv(body, "town,rooms,other", PRICES)

    assert found.inputs.tolist() == [[1, 0], [4, 1]]
    assert found.total == 5
    assert [(one.row, one.column) for one in found.faults] == [(1, "rooms"), (2, None), (3, "town")]
    assert found.faults[1].rule == "2 cells, but the header has 3"
    assert found.fitting == [0, 4]


def test_every_row_may_be_wrong() -> None:
    found = read_csv(b"x,x\n" * 50, "rooms,town", PRICES)

    assert (len(found.faults), found.inputs.shape, found.total) == (50, (0, 2), 50)


def test_lines_of_json_are_read_one_by_one() -> None:
    body = b'{"rooms": 1, "town": "Aa"}\n\n{"rooms": 1}\n[2, "Bonn"]\nnot json\n\xff\n3\n'

    found = read_lines(body, PRICES)

    assert found.inputs.tolist() == [[1, 0], [2, 1]]
    assert [one.row for one in found.faults] == [1, 3, 4, 5]
    assert "is missing" in found.faults[0].rule
    assert "not a line of JSON" in found.faults[1].rule


def test_rows_of_an_array_are_checked_one_by_one() -> None:
    array = np.array([[1, 0], [np.nan, 1], [3, 7], [4, 1]], "<f8")

    found = read_rows(array.tobytes(), "<f8", (2,), PRICES)

    assert found.inputs.tolist() == [[1, 0], [4, 1]]
    assert [one.row for one in found.faults] == [1, 2]


def test_flat_pictures_of_an_array_take_the_models_shape() -> None:
    found = read_rows(bytes(8), "|u1", (4,), SHAPES)

    assert found.inputs.shape == (2, 2, 2, 1)
    with pytest.raises(Invalid, match="is not numbers of shape"):
        read_rows(bytes(6), "|u1", (3,), SHAPES)


def test_pictures_that_cannot_be_read_are_told_by_place() -> None:
    found = read_pictures(
        [b"no picture"] * 3, SHAPES, lambda spec, files: decode_pictures(spec, files, fit="refuse")
    )

    assert [one.rule for one in found.faults] == ["is neither PNG nor JPEG"] * 3


def test_output_has_a_line_for_every_record_in_order() -> None:
    records = read_csv(b"1,Aa\nx,Aa\n2,Bonn\n", "rooms,town", PRICES)
    outputs = np.array([[2.0], [13.0]], np.float32)

    as_csv = output_lines(PRICES, "text/csv", records, outputs)
    as_json = output_lines(PRICES, "application/jsonlines", records, outputs, ("a", "b", "c"))

    assert output_head(PRICES, "text/csv", named=False) == b"price,error\n"
    assert output_head(PRICES, "application/jsonlines", named=True) == b""
    assert as_csv == b"2.0,\n,column 'rooms': 'x' is not a number\n13.0,\n"
    assert as_json == (
        b'{"file":"a","price":2.0}\n'
        b'{"file":"b","column":"rooms","error":"\'x\' is not a number"}\n'
        b'{"file":"c","price":13.0}\n'
    )


@pytest.mark.parametrize(
    ("cell", "written"),
    [
        ('=HYPERLINK("http://evil", "a")', '\'=HYPERLINK("http://evil", "a")'),
        ("+A1", "'+A1"),
        ("-1+A1", "'-1+A1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t=1"),
        ("\r=1", "'\r=1"),
        ("\n=1", "'\n=1"),
        ("-5 is below minimum 0", "'-5 is below minimum 0"),
        ("'many' is not a number", "'many' is not a number"),
        ("a=1", "a=1"),
        ("", ""),
    ],
)
def test_a_text_that_begins_like_a_formula_is_marked_as_text(cell: str, written: str) -> None:
    assert as_text(cell) == written


@given(st.floats(allow_nan=False, width=32) | st.integers())
def test_a_number_is_no_formula(number: float) -> None:
    assert as_text(str(number)) == str(number)
    assert as_text(str(np.float32(number))) == str(np.float32(number))


def test_output_in_csv_has_no_formulas_and_json_lines_are_exact() -> None:
    labels = msgspec.structs.replace(SHAPES.output, labels=("=1+1", "-1"))
    spec = msgspec.structs.replace(SHAPES, output=labels)
    records = read_lines(b"[0,0,0,0]\n[1,1,1,1]\n[1]\n", spec)
    outputs = np.array([[0.75, 0.25], [-0.5, -0.25]], np.float32)
    names = ("@a.png", "-b.png", "+c.png")

    as_csv = output_lines(spec, "text/csv", records, outputs, names).decode().splitlines()
    as_json = output_lines(spec, "application/jsonlines", records, outputs, names)

    assert as_csv[:2] == ["'@a.png,'=1+1,0.75,0.25,", "'-b.png,-1,-0.5,-0.25,"]
    assert as_csv[2].startswith("'+c.png,,,,")
    assert as_json.startswith(b'{"file":"@a.png","label":"=1+1"')


def test_output_of_classes_names_the_likeliest_and_all_probabilities() -> None:
    records = read_lines(b"[0,0,0,0]\n[1]\n", SHAPES)
    outputs = np.array([[0.25, 0.75]], np.float32)

    found = output_lines(SHAPES, "text/csv", records, outputs, ("a.png", "b.png"))

    assert output_head(SHAPES, "text/csv", named=True) == (
        b"file,label,probability_light,probability_dark,error\n"
    )
    assert found.splitlines()[0] == b"a.png,dark,0.25,0.75,"
    assert found.splitlines()[1].startswith(b"b.png,,,,")


def test_a_chunk_comes_back_as_it_was_packed_and_its_faults_are_counted_over_the_input() -> None:
    chunk = ScoredChunk(records=9, faults=(RowFault(2, "a", "is empty"), RowFault(8, None, "bad")))

    assert unpack(pack(chunk, b"output")) == (chunk, b"output")
    assert failure_lines(chunk, first=100) == (
        b'{"row":102,"column":"a","rule":"is empty"}\n{"row":108,"rule":"bad"}\n'
    )
    assert b'"file":"8"' in failure_lines(chunk, first=0, names=tuple("012345678"))


@pytest.mark.parametrize(
    ("header", "kind", "wanted"),
    [
        ("", "text/csv", "text/csv"),
        ("", "application/x-npy", "application/jsonlines"),
        ("application/x-ndjson", "text/csv", "application/jsonlines"),
        ("text/csv, application/jsonlines;q=0.5", "image/png", "text/csv"),
    ],
)
def test_bt_1_output_is_of_the_type_that_is_accepted(header: str, kind: str, wanted: str) -> None:
    assert accepted(header, kind) == wanted


def test_other_types_are_refused() -> None:
    with pytest.raises(Invalid, match="'application/xml' is not read"):
        content_type("application/xml")
    with pytest.raises(Invalid, match="application/xml is not written"):
        accepted("application/xml", "text/csv")
