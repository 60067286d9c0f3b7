"""Large bodies are read piece by piece, so that the process goes on answering others."""

import json
import sys
import tracemalloc
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rondo_core.errors import Invalid, RowInvalid
from rondo_core.input_schema import ImageInput
from rondo_core.model_layers import Dense, Flatten
from rondo_core.model_spec import ModelSpec
from rondo_core.output_schema import Classes
from rondo_inference.contracts.encoded import encoded_files
from rondo_inference.domain.csv_rows import decode_csv, decode_plain_csv
from rondo_inference.domain.examples import decode_examples
from rondo_inference.domain.json_lines import decode_lines, decode_tensor_lines
from rondo_inference.domain.json_pieces import LARGE_BYTES, decode_value, members, pieces
from rondo_inference.domain.oip import decode_infer
from rondo_inference.domain.predict_body import decode_predict_body
from rondo_inference.domain.row_faults import RowFaults, decode_every_row
from rondo_inference.domain.tensor_bodies import decode_tensors_body
from rondo_inference.domain.tensor_json import bytes_of_b64
from rondo_inference.domain.tensor_text import decode_flat
from rondo_inference.domain.tensors import Signature, Tensor, TensorInfo
from tests.unit.rondo_inference.exported import PRICES
from tests.unit.rondo_inference.test_inference_values import NUMBERS

ROWS = 50_000
COUNTED = np.arange(2 * ROWS, dtype=np.float32).reshape(ROWS, 2)
LISTS = COUNTED.astype(int).tolist()
PAIRS = Signature((TensorInfo("x", "FP32", (-1, 2)),), (TensorInfo("y", "FP32", (-1, 2)),))
TWO = Signature(
    (TensorInfo("x", "INT32", (-1, 2)), TensorInfo("word", "BYTES", (-1,))),
    (TensorInfo("y", "FP32", (-1,)),),
)
WIDE = ModelSpec(
    model="wide",
    input=ImageInput(height=200, width=300, channels=1, minimum=0, maximum=1),
    layers=(Flatten(name="flat"), Dense(name="head", units=2)),
    output=Classes(labels=("a", "b")),
    loss="sparse_categorical_crossentropy",
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5) | st.just('",]}[{\\'),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4)
    ),
    max_leaves=12,
)
LONG = "\\\"'[{,x" * 10_000


@contextmanager
def traced_memory() -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
    finally:
        tracemalloc.stop()


def dumped(**parts: object) -> bytes:
    return json.dumps(parts).encode()


def named(rows: list[list[int]]) -> list[dict[str, int]]:
    return [{"b": b, "a": a} for a, b in rows]


def tensor(**parts: object) -> dict[str, object]:
    return {"name": "x", "shape": [ROWS, 2], "datatype": "FP32", **parts}


def predicted(body: bytes) -> Tensor:
    return decode_predict_body(body, NUMBERS).inputs


def inferred(body: bytes) -> Tensor:
    return decode_infer(body, None, PAIRS).inputs["x"]


def as_tensor(body: bytes) -> Tensor:
    ((found,), _) = decode_tensors_body(body, PAIRS, "serving_default")
    return found


def lines(rows: object) -> bytes:
    assert isinstance(rows, list)
    return b"\n".join(json.dumps(row).encode() for row in rows)


LARGE: dict[str, tuple[Callable[[bytes], Tensor], bytes]] = {
    "rows": (predicted, dumped(instances=LISTS, signature_name="serving_default")),
    "a bare list": (predicted, json.dumps(LISTS).encode()),
    "objects": (predicted, dumped(instances=named(LISTS))),
    "rows by column": (predicted, dumped(inputs=LISTS)),
    "columns": (predicted, dumped(inputs=dict(zip("ab", zip(*LISTS, strict=True), strict=True)))),
    "examples": (
        lambda body: decode_examples(body, NUMBERS),
        dumped(context={"a": [7]}, examples=named(LISTS)),
    ),
    "lines": (lambda body: decode_lines(body, NUMBERS), lines(LISTS)),
    "lines of tensors": (lambda body: decode_tensor_lines(body, PAIRS)[0], lines(LISTS)),
    "tensors": (as_tensor, dumped(instances=LISTS)),
    "tensors by column": (as_tensor, dumped(inputs={"x": LISTS})),
    "flat data": (
        inferred,
        dumped(inputs=[tensor(data=[number for row in LISTS for number in row])], id="7"),
    ),
    "nested data": (inferred, dumped(inputs=[tensor(data=LISTS)])),
    "data of 64 bits": (inferred, dumped(inputs=[tensor(data=LISTS, datatype="INT64")])),
    "CSV": (
        lambda body: decode_csv(body, NUMBERS),
        b"b,a\n" + b"".join(b"%d,%d\n" % (b, a) for a, b in LISTS),
    ),
    "CSV of tensors": (
        lambda body: decode_plain_csv(body, PAIRS),
        b"".join(b"%d,%d\n" % (a, b) for a, b in LISTS),
    ),
}


@pytest.mark.parametrize(("read", "body"), LARGE.values(), ids=LARGE)
def test_a_large_body_is_read_as_a_small_one_is(
    read: Callable[[bytes], Tensor], body: bytes
) -> None:
    assert len(body) > LARGE_BYTES

    assert np.array_equal(read(body), COUNTED)


@pytest.mark.parametrize(("read", "body"), LARGE.values(), ids=LARGE)
def test_no_call_makes_the_objects_of_all_of_a_large_body(
    read: Callable[[bytes], Tensor], body: bytes
) -> None:
    most, seen = 0, 0

    def look(_: FrameType, event: str, _called: object) -> None:
        nonlocal most, seen
        if event in {"c_call", "c_return"}:
            now = tracemalloc.get_traced_memory()[0]
            most, seen = max(most, now - seen if event == "c_return" else 0), now

    with traced_memory():
        sys.setprofile(look)
        try:
            read(body)
        finally:
            sys.setprofile(None)

    assert most < 2 * max(len(body), COUNTED.nbytes)  # a copy; the objects take ten times as much


@pytest.mark.parametrize(
    "read",
    [
        predicted,
        as_tensor,
        inferred,
        lambda body: decode_examples(body, PRICES),
        lambda body: decode_lines(body, NUMBERS),
        encoded_files,
    ],
    ids=["predict", "tensors", "infer", "examples", "lines", "pictures"],
)
@pytest.mark.parametrize("depth", [1, 50])
@pytest.mark.parametrize("form", ["instances", "inputs", "examples", "data", ""])
def test_a_body_of_brackets_becomes_no_lists(
    read: Callable[[bytes], object], depth: int, form: str
) -> None:
    many = b"[" + b",".join([b"[" * depth + b"]" * depth] * (2**20 // depth)) + b"]"
    body = b'{"%s":%s}' % (form.encode(), many) if form else many
    if form == "data":
        described = b'"name":"x","shape":[1,2],"datatype":"FP32"'
        body = b'{"inputs":[{%s,"data":%s}]}' % (described, many)

    with traced_memory():
        with suppress(Invalid):  # a million rows without values may be a tensor
            read(body)
        _, peak = tracemalloc.get_traced_memory()

    assert peak < 8 * len(body)  # as lists they take twenty times as much


@given(st.lists(JSON, max_size=5), st.lists(JSON, max_size=5), st.integers(0, 7))
def test_what_is_read_in_pieces_is_what_is_read_at_once(
    before: list[object], after: list[object], at: int
) -> None:
    members = [*before, LONG[at:], {"k": LONG, "l": [LONG, before]}, *after]
    text = json.dumps(members).encode()

    assert decode_value(text, 20) == json.loads(text)
    assert decode_value(json.dumps({"m": members, "n": LONG}).encode(), 20)["m"] == members


@given(st.integers(0, 10**6), st.sampled_from(list(b',[]{}":1 \\')))
def test_what_is_no_json_is_none_in_pieces(at: int, byte: int) -> None:
    text = bytearray(json.dumps([[1, "a,]", {"b": None}]] * 9000).encode())
    text[at % len(text)] = byte
    try:
        expected = json.loads(text)
    except ValueError:
        with pytest.raises(Invalid):
            decode_value(bytes(text), 20)
    else:
        assert decode_value(bytes(text), 20) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"[" + b"[1]," * 40_000 + b"[[2]]]", "nested deeper than the 2 levels"),
        (b"[" + b"1," * 80_000 + b"]", "nothing stands before or after a comma"),
        (b"[" + b"1," * 80_000 + b"2],[3]", "do not close each other"),
        (b"[" + b"1," * 80_000 + b"2", "no list or object"),
        (b'["' + b"1," * 80_000 + b"2]", "do not close each other"),
        (b'{"' + b"k" * 200_000 + b'":[1]}', "no key begins at"),
    ],
)
def test_a_large_text_that_is_no_json_says_why(text: bytes, message: str) -> None:
    with pytest.raises(Invalid, match=message):
        decode_value(text, 2)


def test_a_large_list_without_members_has_none() -> None:
    assert decode_value(b"[" + b" " * LARGE_BYTES + b"]", 1) == []
    assert list(pieces(b"{}", 1)) == [b""]
    with pytest.raises(Invalid, match="is empty"):
        predicted(b'{"instances": [' + b" " * LARGE_BYTES + b"]}")


@pytest.mark.parametrize("bare", ["NaN", "-Infinity", "null", '"x"', "[1]"])
def test_the_fault_of_a_row_far_behind_is_told_with_its_number(bare: str) -> None:
    text = json.dumps({"instances": LISTS}).replace("[99998, 99999]", f"[99998, {bare}]")

    with pytest.raises(Invalid) as caught:
        predicted(text.encode())

    told = caught.value
    assert isinstance(told, RowFaults) or "nested deeper" in str(told)
    if isinstance(told, RowFaults):
        assert [(fault.row, fault.column) for fault in told.faults] == [(49_999, "b")]


def test_of_many_wrong_rows_no_more_are_read_than_are_told() -> None:
    text = dumped(instances=[["a", "b"]] * 50_000)[:-2] + b" is not even JSON"

    with pytest.raises(RowFaults) as caught:
        predicted(text + b"]}")

    assert [fault.row for fault in caught.value.faults] == list(range(100))


@pytest.mark.parametrize(
    "wrap",
    [
        lambda picture: picture,
        lambda picture: [value for row in picture for value in row],
        lambda picture: {"image": picture},
        lambda picture: [[[value] for value in row] for row in picture],
    ],
    ids=["rows", "flat", "by name", "with channels"],
)
def test_a_picture_that_is_large_alone_is_read(wrap: Callable[[object], object]) -> None:
    picture = [[0.25] * 300 for _ in range(200)]

    found = decode_predict_body(dumped(instances=[wrap(picture)]), WIDE).inputs

    assert found.shape == (1, 200, 300, 1)
    assert (found == np.float32(0.25)).all()
    assert np.array_equal(decode_lines(lines([wrap(picture)]), WIDE), found)


def test_a_picture_that_is_large_alone_and_wrong_is_named() -> None:
    wrong = [[0.25] * 301 for _ in range(200)]
    text = dumped(instances=[wrong, {"picture": wrong}])

    with pytest.raises(RowFaults) as caught:
        decode_predict_body(text, WIDE)

    assert [(fault.row, fault.rule) for fault in caught.value.faults] == [
        (0, "shape (200, 301), expected (200, 300, 1)"),
        (1, "is missing"),
    ]


def test_rows_of_several_inputs_that_are_large_are_read() -> None:
    rows = [{"x": [1, at], "word": f"w{at}"} for at in range(9000)]

    (numbers, words), by_column = decode_tensors_body(dumped(instances=rows), TWO, "")
    alone = {"x": [1, 2], "word": "w" * 2 * LARGE_BYTES}
    (one, word), _ = decode_tensors_body(dumped(instances=[alone]), TWO, "")

    assert not by_column
    assert numbers[8999].tolist() == [1, 8999]
    assert words[8999] == b"w8999"
    assert (one.shape, word.shape, len(word[0])) == ((1, 2), (1,), 2 * LARGE_BYTES)


def test_the_row_of_large_tensors_that_is_wrong_is_named() -> None:
    rows = [*({"x": [1, at], "word": f"w{at}"} for at in range(9000)), {"x": [1, 2]}]

    with pytest.raises(Invalid, match="row 9000 has no 'word'"):
        decode_tensors_body(dumped(instances=rows), TWO, "")
    with pytest.raises(Invalid, match="ragged"):
        as_tensor(dumped(instances=[*LISTS, [1]]))


def test_a_csv_of_one_long_line_is_refused_before_it_becomes_cells() -> None:
    body = b"1," * 600_000 + b"1"

    with traced_memory():
        for read in (
            lambda: decode_csv(body, NUMBERS),
            lambda: decode_csv(body, WIDE),
            lambda: decode_plain_csv(body, PAIRS),
        ):
            with pytest.raises(Invalid, match="line 1 of the CSV has over"):
                read()
        _, peak = tracemalloc.get_traced_memory()

    assert peak < 12 * len(body)  # the cells alone would take thirty times as much


def test_of_many_inputs_no_more_are_read_than_there_may_be() -> None:
    many = [tensor(data=[1], name=f"{at}") for at in range(12_000)]

    with pytest.raises(Invalid, match="over 10000 inputs"):
        decode_infer(dumped(inputs=many, parameters={"a": "b" * 2**21}), None, PAIRS)


LARGE_TEXT = "x" * (2 * 1024 * 1024)
LARGE_ROW = [0.5] * 100_000
WIDE_PAIR = Signature((TensorInfo("x", "FP32", (-1, 100_000)),), PAIRS.outputs)


@pytest.mark.parametrize(
    ("read", "text"),
    [
        (lambda: predicted(dumped(instances=LARGE_TEXT)), "begins no list of instances"),
        (lambda: as_tensor(dumped(instances=LARGE_TEXT)), '"instances" is not a list'),
        (
            lambda: decode_tensors_body(dumped(inputs=LISTS), TWO, "serving_default"),
            "must be an object with x, word",
        ),
        (
            lambda: decode_predict_body(dumped(inputs={"other": LARGE_ROW}), WIDE),
            "\"inputs\" has no 'image'",
        ),
        (lambda: inferred(dumped(id=[1], inputs=[tensor(data=LISTS * 4)])), "not an inference"),
        (
            lambda: inferred(dumped(inputs=[tensor(shape="2", data=LISTS * 4)])),
            "not an inference request",
        ),
        (lambda: bytes_of_b64("x", "%%%%"), "not base64"),
        (
            lambda: bytes_of_b64("x", "A" * (256 * 1024 - 4) + "QQ==AAAA"),
            "not base64: padding before its end",
        ),
        (lambda: decode_lines(b"\n", NUMBERS), "the body is empty"),
        (lambda: decode_examples(dumped(context=[], examples=[{}]), NUMBERS), "must be objects"),
    ],
)
def test_a_body_of_another_form_is_refused_in_words(read: Callable[[], object], text: str) -> None:
    with pytest.raises(Invalid, match=text):
        read()


def test_a_column_of_another_form_is_refused_and_the_others_are_let_go() -> None:
    with pytest.raises(Invalid, match="has no list for column"):
        predicted(dumped(inputs={"a": LARGE_ROW, "b": 1}))


def test_pictures_by_column_are_found_by_their_name() -> None:
    pictures = np.linspace(0, 1, 60_000, dtype=np.float32).reshape(1, 200, 300, 1)

    found = decode_predict_body(dumped(inputs={"image": pictures.tolist()}), WIDE)

    assert found.by_column
    np.testing.assert_array_equal(found.inputs, pictures)


def test_lines_of_tensors_are_large_or_small_and_a_malformed_one_is_named() -> None:
    lines = [json.dumps([value] * 100_000) for value in (1, 2)]

    (found,) = decode_tensor_lines("\n".join(lines).encode(), WIDE_PAIR)

    np.testing.assert_array_equal(found[:, 0], [1, 2])
    assert found.shape == (2, 100_000)
    with pytest.raises(RowInvalid, match="row 1"):
        decode_tensor_lines(b"[1, 2]\n[1,", PAIRS)


def test_one_row_that_is_large_alone_is_cut_again() -> None:
    body = dumped(inputs=[{**tensor(datatype="FP64", data=[LARGE_ROW]), "shape": [1, 100_000]}])

    found = decode_infer(body, None, WIDE_PAIR).inputs["x"]

    assert (found.shape, found.dtype) == ((1, 100_000), np.dtype(np.float64))


def test_members_with_bare_words_are_read() -> None:
    assert dict(members(b'{"a": NaN, "b": [1]}', 2)) == {"a": b"NaN", "b": b"[1]"}


def test_rows_that_were_read_before_are_checked_in_blocks() -> None:
    rows = [{"a": 1.0, "b": 2.0}] * 20_000

    assert decode_every_row(NUMBERS, rows).shape == (20_000, 2)


def test_bytes_that_are_large_are_read_from_base64() -> None:
    data = b"ab\x00" * 200_000
    one = {
        "name": "x",
        "shape": [1],
        "datatype": "BYTES",
        "data": {"b64": b64encode(data).decode()},
    }
    signature = Signature((TensorInfo("x", "BYTES", (-1,)),), PAIRS.outputs)

    found = decode_infer(dumped(inputs=[one]), None, signature).inputs["x"]

    assert found.tolist() == [data]


def test_what_is_no_list_is_no_flat_list() -> None:
    assert decode_flat(b"1") is None


def test_a_large_list_that_ends_with_a_comma_is_none() -> None:
    room = b" " * LARGE_BYTES

    whole, faulty = decode_flat(b"[1," + room + b"2]"), decode_flat(b"[1," + room + b"2,]")

    assert whole is not None
    assert (whole.tolist(), faulty) == ([1, 2], None)
