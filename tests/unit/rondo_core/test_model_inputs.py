import csv
import io
import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from rondo_core.errors import Invalid, RowInvalid
from rondo_core.initial_weights import layout_of_spec
from rondo_core.input_arrays import check_inputs
from rondo_core.model_inputs import Row, decode_rows, decode_targets
from rondo_core.model_spec import ModelSpec, parse_model_spec

EXAMPLES = Path(__file__).parents[3] / "examples"
DENSE = {"kind": "Dense", "name": "scores", "units": 3, "activation": "softmax"}
TAIL = {
    "output": {"kind": "classes", "labels": ["no", "yes", "1"]},
    "loss": "sparse_categorical_crossentropy",
}


def table(*columns: Mapping[str, object]) -> ModelSpec:
    document = {"model": "m", "input": {"kind": "table", "columns": columns}, "layers": [DENSE]}
    return parse_model_spec(json.dumps(document | TAIL).encode())


def pictures(height: int, width: int, channels: int) -> ModelSpec:
    size = {"height": height, "width": width, "channels": channels, "maximum": 16}
    layers = [{"kind": "Flatten", "name": "flat"}, DENSE]
    document = {"model": "m", "input": {"kind": "image", **size}, "layers": layers}
    return parse_model_spec(json.dumps(document | TAIL).encode())


AGE = {"kind": "number", "name": "age"}
SIZE = {"kind": "number", "name": "size", "mean": 5, "std": 2}
COUNTRY = {"kind": "category", "name": "country", "values": ["DE", "ES", "FR"]}
FLAG = {"kind": "category", "name": "flag", "values": ["false", "true", "1", ""]}
MIXED = table(AGE, COUNTRY, SIZE)
NUMBERS = table(AGE, SIZE)
GREY = pictures(2, 3, 1)
COLOUR = pictures(1, 2, 3)


def refusal(spec: ModelSpec, rows: Sequence[Row]) -> str:
    with pytest.raises(RowInvalid) as caught:
        decode_rows(spec, rows)
    return str(caught.value)


# --- tables ---------------------------------------------------------------------------------------


def test_objects_and_lists_give_raw_numbers_and_the_index_of_each_word() -> None:
    rows: list[Row] = [
        {"country": "FR", "age": 30, "size": 1.5, "left over": "ignored"},
        [41, "DE", -2],
        ("7", " ES ", "1e2"),
    ]

    inputs = decode_rows(MIXED, rows)

    assert inputs.dtype == np.float32
    assert inputs.tolist() == [[30, 2, 1.5], [41, 0, -2], [7, 1, 100]]


def test_rows_of_a_csv_file_are_read_as_they_are() -> None:
    text = "id,size,age,country\nx,1,2,ES\ny,3,4,FR\n"

    inputs = decode_rows(MIXED, list(csv.DictReader(io.StringIO(text))))

    assert inputs.tolist() == [[2, 1, 1], [4, 2, 3]]


@pytest.mark.parametrize("spec", [MIXED, NUMBERS, GREY])
def test_no_rows_give_an_empty_batch(spec: ModelSpec) -> None:
    assert decode_rows(spec, []).shape == (0, *spec.input.shape)


@pytest.mark.parametrize(
    ("cell", "word"),
    [("true", 1), (True, 1), (False, 0), (1, 2), (1.0, 2), ("1", 2), ("", 3), ("  ", 3)],
    ids=itertools.count(),
)
def test_a_category_is_read_as_a_csv_file_would_write_it(cell: object, word: int) -> None:
    assert decode_rows(table(FLAG), [[cell]]).tolist() == [[word]]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"age": 1, "size": 2}, "row 1, column 'country': is missing"),
        ([1, "DE"], "row 1: 2 values, but the model has 3 columns"),
        ([1, "DE", 2, 3], "row 1: 4 values, but the model has 3 columns"),
        ("abc", "row 1: 'abc' is neither an object nor a list"),
        (5, "row 1: 5 is neither an object nor a list"),
        (["abc", "DE", 1], "row 1, column 'age': 'abc' is not a number"),
        (["1,5", "DE", 1], "row 1, column 'age': '1,5' is not a number"),
        (["1_0", "DE", 1], "row 1, column 'age': '1_0' is not a number"),
        (["0x1", "DE", 1], "row 1, column 'age': '0x1' is not a number"),
        ([None, "DE", 1], "row 1, column 'age': is empty"),
        ([" ", "DE", 1], "row 1, column 'age': is empty"),
        ([[1], "DE", 1], "row 1, column 'age': [1] is not a number"),
        ([{}, "DE", 1], "row 1, column 'age': {} is not a number"),
        (["nan", "DE", 1], "row 1, column 'age': 'nan' is not a number"),
        ([float("inf"), "DE", 1], "row 1, column 'age': inf is not a number"),
        ([1e39, "DE", 1], "row 1, column 'age': 1e+39 is not a number"),
        ([10**400, "DE", 1], "row 1, column 'age': 1000"),
        ([1, "IT", 1], "row 1, column 'country': 'IT' is not one of 'DE', 'ES', 'FR'"),
        ([1, "de", 1], "row 1, column 'country': 'de' is not one of 'DE', 'ES', 'FR'"),
        ([1, None, 1], "row 1, column 'country': None is not one of 'DE', 'ES', 'FR'"),
        ([1, ["DE"], 1], "row 1, column 'country': ['DE'] is not one of 'DE', 'ES', 'FR'"),
        ([1, 0, 1], "row 1, column 'country': 0 is not one of 'DE', 'ES', 'FR'"),
    ],
    ids=itertools.count(),
)
def test_a_wrong_row_is_named_with_its_column_value_and_rule(row: Row, message: str) -> None:
    assert refusal(MIXED, [[1, "DE", 2], row]).startswith(message)


@pytest.mark.parametrize("cell", ["abc", None, "", "1_0", float("nan"), [1], {}])
def test_a_table_of_numbers_alone_refuses_the_same(cell: object) -> None:
    assert refusal(NUMBERS, [[1, 2], [3, cell]]).startswith("row 1, column 'size': ")


def test_a_table_of_numbers_alone_reads_the_same() -> None:
    expected = [[1, 2], [3, 4]]

    assert decode_rows(NUMBERS, [[1, 2], [3, 4]]).tolist() == expected
    assert decode_rows(NUMBERS, [["1", " 2"], ["3.0", "4e0"]]).tolist() == expected
    assert decode_rows(NUMBERS, [{"size": 2, "age": 1}, [3, "4"]]).tolist() == expected
    assert decode_rows(NUMBERS, [[True, False]]).tolist() == [[1, 0]]
    assert decode_rows(NUMBERS, [[True, "0"], ["2", False]]).tolist() == [[1, 0], [2, 0]]
    assert decode_rows(NUMBERS, [[10**30, 1]]).tolist() == [[np.float32(1e30), 1]]


def test_a_batch_of_rows_of_the_wrong_length_is_refused() -> None:
    assert refusal(NUMBERS, [[1], [2]]) == "row 0: 1 values, but the model has 2 columns"
    assert refusal(table(AGE), [[[1]], [[2]]]) == "row 0, column 'age': [1] is not a number"


def test_a_long_list_of_words_is_cut_in_the_error() -> None:
    many = {"kind": "category", "name": "c", "values": [f"w{n}" for n in range(500)]}

    message = refusal(table(many), [["x" * 1000]])

    assert message.endswith("'w9' and 490 more")
    assert len(message) < 250


@given(
    rows=st.lists(
        st.tuples(
            st.floats(width=32, allow_nan=False, allow_infinity=False),
            st.sampled_from(["DE", "ES", "FR"]),
            st.integers(-(10**6), 10**6),
        ),
        max_size=5,
    )
)
def test_text_and_values_by_name_or_in_order_mean_the_same(
    rows: list[tuple[float, str, int]],
) -> None:
    names = MIXED.input_names

    inputs = decode_rows(MIXED, rows)

    by_name = [dict(zip(names, row, strict=True)) for row in rows]
    as_text = [tuple(map(repr, row[::2])) for row in rows]
    texts = [(age, row[1], size) for (age, size), row in zip(as_text, rows, strict=True)]
    assert np.array_equal(decode_rows(MIXED, by_name), inputs)
    assert np.array_equal(decode_rows(MIXED, texts), inputs)
    assert np.array_equal(check_inputs(MIXED, inputs), inputs)


CELLS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4)


@given(rows=st.lists(st.lists(CELLS | st.lists(CELLS, max_size=2), max_size=4), max_size=3))
def test_whatever_arrives_gives_finite_numbers_or_a_named_row(rows: list[list[object]]) -> None:
    for spec in (MIXED, NUMBERS, table(FLAG), GREY):
        try:
            inputs = decode_rows(spec, rows)
        except RowInvalid as error:
            index = error.row
        else:
            index = 0
            assert np.isfinite(inputs).all()
            assert inputs.shape == (len(rows), *spec.input.shape)
        assert 0 <= index < max(len(rows), 1)


# --- pictures -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "row",
    [
        [[[1], [2], [3]], [[4], [5], [6]]],
        [[1, 2, 3], [4, 5, 6]],
        [1, 2, 3, 4, 5, 6],
        ["1", "2", "3", "4", "5", "6"],
        {"image": [[1, 2, 3], [4, 5, 6]]},
        np.arange(1, 7, dtype=np.uint8).reshape(2, 3),
    ],
    ids=itertools.count(),
)
def test_a_picture_may_be_nested_flat_or_text(row: Row) -> None:
    inputs = decode_rows(GREY, [row, row])

    assert inputs.dtype == np.float32
    assert inputs.shape == (2, 2, 3, 1)
    assert inputs[1, :, :, 0].tolist() == [[1, 2, 3], [4, 5, 6]]


def test_a_picture_with_channels_keeps_them_last() -> None:
    assert decode_rows(COLOUR, [[1, 2, 3, 4, 5, 6]]).tolist() == [[[[1, 2, 3], [4, 5, 6]]]]
    assert "expected (1, 2, 3)" in refusal(COLOUR, [[[1, 2]]])


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ([1, 2, 3], "row 1: shape (3,), expected (2, 3, 1)"),
        ([[1, 2], [3, 4], [5, 6]], "row 1: shape (3, 2), expected (2, 3, 1)"),
        ([[1, 2], [3]], "row 1: [[1, 2], [3]] is not a picture of numbers"),
        ([1, 2, 3, 4, 5, "x"], "row 1: [1, 2, 3, 4, 5, 'x'] is not a picture of numbers"),
        ([1, 2, 3, 4, 5, None], "row 1: [1, 2, 3, 4, 5, None] is not a picture of numbers"),
        ("abcdef", "row 1: 'abcdef' is not a picture of numbers"),
        (None, "row 1: None is not a picture of numbers"),
        ({"picture": [1]}, "row 1, column 'image': is missing"),
        ([1, 2, 3, 4, 5, 16.5], "row 1: 16.5 is not in 0.0..16.0"),
        ([1, 2, 3, 4, 5, -1], "row 1: -1.0 is not in 0.0..16.0"),
    ],
    ids=itertools.count(),
)
def test_a_wrong_picture_is_named_with_its_rule(row: Row, message: str) -> None:
    assert refusal(GREY, [[0] * 6, row]) == message


# --- arrays ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["f4", "f8", "f2", "u1", "i8", "?"])
def test_an_array_of_any_real_type_becomes_float32(kind: str) -> None:
    inputs = check_inputs(GREY, np.ones((1, 2, 3, 1), kind))

    assert inputs.dtype == np.float32
    assert inputs.sum() == 6


def test_a_float32_array_is_not_copied() -> None:
    array = np.ones((1, 2, 3, 1), np.float32)

    assert check_inputs(GREY, array) is array


@pytest.mark.parametrize(
    "array",
    [
        np.ones((1, 3, 2, 1)),
        np.ones((2, 3, 1)),
        np.ones(()),
        np.ones((1, 2, 3, 1), complex),
        np.full((1, 2, 3, 1), "1"),
    ],
    ids=itertools.count(),
)
def test_an_array_of_another_shape_or_type_is_refused(array: NDArray[np.generic]) -> None:
    with pytest.raises(Invalid, match=r"is not numbers of shape \(n, 2, 3, 1\)"):
        check_inputs(GREY, array)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ([np.nan, 0, 0], "row 1, column 'age': nan is not a finite number"),
        ([0, 0, np.inf], "row 1, column 'size': inf is not a finite number"),
        ([0, 0, 1e39], "row 1, column 'size': inf is not a finite number"),
        ([0, 3, 0], "row 1, column 'country': 3.0 is not in 0..2"),
        ([0, -1, 0], "row 1, column 'country': -1.0 is not in 0..2"),
        ([0, np.nan, 0], "row 1, column 'country': nan is not in 0..2"),
        ([0, 0.5, 0], "row 1, column 'country': 0.5 is not an index"),
    ],
    ids=itertools.count(),
)
def test_an_array_with_a_wrong_value_is_refused(row: list[float], message: str) -> None:
    with pytest.raises(RowInvalid) as caught:
        check_inputs(MIXED, np.array([[1, 2, 3], row]))

    assert str(caught.value) == message


def test_a_picture_with_nan_is_refused() -> None:
    array = np.zeros((3, 2, 3, 1))
    array[2, 1, 1, 0] = np.nan

    with pytest.raises(RowInvalid, match=r"^row 2: nan is not in 0.0..16.0$"):
        check_inputs(GREY, array)


# --- targets --------------------------------------------------------------------------------------


def test_labels_become_their_index() -> None:
    targets = decode_targets(GREY, ["yes", "no", 1, "1 "])

    assert targets.dtype == np.int32
    assert targets.tolist() == [1, 0, 2, 2]


def test_an_unknown_label_is_named() -> None:
    with pytest.raises(RowInvalid) as caught:
        decode_targets(GREY, ["yes", "maybe"])

    assert str(caught.value) == "row 1, column 'label': 'maybe' is not one of 'no', 'yes', '1'"


def test_numbers_stay_numbers() -> None:
    document = {
        "model": "m",
        "input": {"kind": "table", "columns": [AGE]},
        "layers": [{"kind": "Dense", "name": "price", "units": 1}],
        "output": {"kind": "number", "name": "price"},
        "loss": "mean_squared_error",
    }
    spec = parse_model_spec(json.dumps(document).encode())

    assert decode_targets(spec, ["1.5", 2]).tolist() == [1.5, 2]
    with pytest.raises(RowInvalid, match="row 0, column 'price': 'x' is not a number"):
        decode_targets(spec, ["x"])


# --- the examples ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "parameters"), [("digits", 38_282), ("mnist-cnn", 1_199_882)])
def test_the_examples_have_the_parameters_that_their_pages_say(name: str, parameters: int) -> None:
    spec = parse_model_spec((EXAMPLES / name / "model.json").read_bytes())

    assert layout_of_spec(spec).size == parameters


def test_the_digits_example_takes_rows_of_64_numbers() -> None:
    spec = parse_model_spec((EXAMPLES / "digits" / "model.json").read_bytes())

    inputs = decode_rows(spec, [[str(value % 17) for value in range(64)]])

    assert inputs.shape == (1, 8, 8, 1)
    assert inputs[0, 2, 0, 0] == 16
    assert spec.outputs == tuple("0123456789")
