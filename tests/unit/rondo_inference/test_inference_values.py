import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rondo_core.errors import Invalid, RowInvalid
from rondo_core.input_schema import CategoryColumn, NumberColumn, TableInput
from rondo_core.model_inputs import decode_rows
from rondo_core.model_layers import Dense
from rondo_core.model_spec import ModelSpec
from rondo_core.output_schema import Classes, Number
from rondo_inference.domain.answers import (
    NOT_FINITE,
    csv_answer,
    labelled_rows,
    set_aside,
    tensor_answer,
)
from rondo_inference.domain.backoff import backoff_seconds
from rondo_inference.domain.cpus import usable_cpus
from rondo_inference.domain.csv_rows import decode_csv
from rondo_inference.domain.predict_body import decode_predict_body
from rondo_inference.domain.row_faults import RowFault, RowFaults
from rondo_inference.domain.tensor_json import encode_json
from rondo_inference.domain.tensor_text import decode_tensor
from tests.unit.rondo_inference.exported import PRICES, SHAPES

NUMBERS = ModelSpec(
    model="numbers",
    input=TableInput(columns=(NumberColumn(name="a"), NumberColumn(name="b"))),
    layers=(Dense(name="head", units=1),),
    output=Number(name="sum"),
    loss="mean_squared_error",
)


def body(**parts: object) -> bytes:
    return json.dumps(parts).encode()


@pytest.mark.parametrize(
    "instances",
    [
        [{"town": "Bonn", "rooms": 3}, {"rooms": 1.5, "town": "Aa"}],
        [[3, "Bonn"], [1.5, "Aa"]],
        [[3, "Bonn"], {"rooms": "1.5", "town": "Aa"}],
    ],
    ids=["by name", "in order", "mixed"],
)
def test_rows_of_a_table_come_by_column_name_or_in_order(instances: list[object]) -> None:
    found = decode_predict_body(body(instances=instances), PRICES)

    assert found.inputs.tolist() == [[3, 1], [1.5, 0]]
    assert found.inputs.dtype == np.float32
    assert not found.by_column


@pytest.mark.parametrize(
    "picture",
    [[[1, 2], [3, 255]], [[[1], [2]], [[3], [255]]], [1, 2, 3, 255], {"image": [[1, 2], [3, 255]]}],
    ids=["rows", "rows and channels", "flat", "by name"],
)
def test_pictures_come_nested_or_flat(picture: object) -> None:
    found = decode_predict_body(body(instances=[picture, picture]), SHAPES)

    assert found.inputs.tolist() == [[[[1], [2]], [[3], [255]]]] * 2


@pytest.mark.parametrize(
    "inputs",
    [[[3, "Bonn"], [1.5, "Aa"]], {"rooms": [3, 1.5], "town": ["Bonn", "Aa"], "colour": []}],
    ids=["tensor", "columns"],
)
def test_column_format_of_a_table(inputs: object) -> None:
    found = decode_predict_body(body(inputs=inputs), PRICES)

    assert found.inputs.tolist() == [[3, 1], [1.5, 0]]
    assert found.by_column


@pytest.mark.parametrize("inputs", [[[[1, 2], [3, 4]]], {"image": [[[1, 2], [3, 4]]]}])
def test_column_format_of_pictures(inputs: object) -> None:
    found = decode_predict_body(body(inputs=inputs), SHAPES)

    assert found.inputs.ravel().tolist() == [1, 2, 3, 4]
    assert found.by_column


def test_a_bare_list_is_a_list_of_instances() -> None:
    assert decode_predict_body(b" [[3, 4], [5, 6]]", NUMBERS).inputs.tolist() == [[3, 4], [5, 6]]


@pytest.mark.parametrize("signature", ["", "serving_default"])
def test_the_one_signature_may_be_named(signature: str) -> None:
    found = decode_predict_body(body(instances=[[1, 2]], signature_name=signature), NUMBERS)

    assert found.inputs.tolist() == [[1, 2]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", 'the body is empty; send JSON with "instances" or "inputs"'),
        (b" \n", 'the body is empty; send JSON with "instances" or "inputs"'),
        (b"{", "the body is not the JSON of a prediction: Input data was truncated"),
        (b"{}", 'the body must have either "instances" or "inputs", and not both'),
        (
            b'{"instances": [[1, 2]], "inputs": [[1, 2]]}',
            'the body must have either "instances" or "inputs", and not both',
        ),
        (b'{"instances": []}', '"instances" is empty'),
        (b'{"instances": {}}', '"instances" is not a list of instances'),
        (b'{"inputs": 7}', '"inputs" is not a list of instances'),
        (b'{"inputs": {"a": [1]}}', "\"inputs\" has no list for column 'b'"),
        (b'{"inputs": {"a": [1], "b": 2}}', "\"inputs\" has no list for column 'b'"),
        (b'{"inputs": {"a": [1], "b": [2, 3]}}', "column 'b' has 2 values, 'a' has 1"),
        (b'{"inputs": {"a": [], "b": []}}', '"inputs" is empty'),
        (
            b'{"instances": [[1, 2]], "signature_name": "other"}',
            "signature 'other' is not in the model, which has 'serving_default'",
        ),
        (b"7", "the body is not the JSON of a prediction: Expected `object`, got `int`"),
        (b"NaN", "the body is not the JSON of a prediction: Expected `object`, got `str`"),
        (b"[NaN", "the body is not the JSON of a prediction: Expecting ',' delimiter"),
        (b'{"instances": ["\xff"]}', "the body is not the JSON of a prediction: 'utf-8' codec"),
        (b'["NaN\xff", NaN]', "the body is not the JSON of a prediction: 'utf-8' codec"),
        (b"[" * 100_000, "the body is nested too deeply"),
        (b"[NaN," + b"[" * 100_000, "the body is nested too deeply"),
    ],
)
def test_a_body_that_is_no_prediction_is_refused(text: bytes, message: str) -> None:
    with pytest.raises(Invalid) as caught:
        decode_predict_body(text, NUMBERS)

    assert str(caught.value).startswith(message)


def test_columns_of_pictures_must_name_the_picture() -> None:
    with pytest.raises(Invalid, match="\"inputs\" has no 'image'"):
        decode_predict_body(body(inputs={"picture": []}), SHAPES)


@pytest.mark.parametrize(
    ("instances", "message"),
    [
        ('[{"rooms": 3}]', "row 0, column 'town': is missing"),
        ('[[1, "Aa"], [2]]', "row 1: 1 values, but the model has 2 columns"),
        ('[[1, "Aa"], ["two", "Aa"]]', "row 1, column 'rooms': 'two' is not a number"),
        ('[[1, "Aa"], [2, "Ulm"]]', "row 1, column 'town': 'Ulm' is not one of 'Aa', 'Bonn'"),
        ('[[1, "Aa"], [NaN, "Aa"]]', "row 1, column 'rooms': 'NaN' is not a number"),
        ('[[Infinity, "Aa"]]', "row 0, column 'rooms': 'Infinity' is not a number"),
        ('[{"rooms": -Infinity, "town": "Aa"}]', "row 0, column 'rooms': '-Infinity' is not a"),
        ('[[1e39, "Aa"]]', "row 0, column 'rooms': 1e+39 is not a number"),
        ("[7]", "row 0: 7 is neither an object nor a list"),
    ],
)
def test_a_bad_row_of_a_table_is_named(instances: str, message: str) -> None:
    with pytest.raises(RowInvalid) as caught:
        decode_predict_body(b'{"instances": %s}' % instances.encode(), PRICES)

    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("instances", "message"),
    [
        ("[[1, 2, 3, 4], [1, 2, 3, 256]]", "row 1: 256.0 is not in 0.0..255.0"),
        ("[[1, 2, 3, 4], [1, 2, 3, 1e39]]", "row 1: inf is not in 0.0..255.0"),
        ("[[1, 2, 3]]", "row 0: shape (3,), expected (2, 2, 1)"),
        ("[[1, 2, 3, NaN]]", "row 0: [1, 2, 3, 'NaN'] is not a picture of numbers"),
        ('[[[1, 2], [3, 4]], [[1, 2], [3, "x"]]]', "row 1: [[1, 2], [3, 'x']] is not a picture"),
        ("[[[1, 2], [3]]]", "row 0: [[1, 2], [3]] is not a picture of numbers"),
        ('[{"picture": []}]', "row 0, column 'image': is missing"),
    ],
)
def test_a_bad_picture_is_named(instances: str, message: str) -> None:
    with pytest.raises(RowInvalid) as caught:
        decode_predict_body(b'{"instances": %s}' % instances.encode(), SHAPES)

    assert str(caught.value).startswith(message)


pictures = st.lists(
    st.lists(
        st.lists(st.integers(0, 255) | st.floats(0, 255), min_size=2, max_size=2),
        min_size=2,
        max_size=2,
    ),
    min_size=1,
    max_size=4,
)


@given(pictures=pictures, indent=st.none() | st.integers(0, 3))
def test_the_fast_way_reads_what_the_slow_way_reads(
    pictures: list[list[list[float]]], indent: int | None
) -> None:
    text = json.dumps(pictures, indent=indent).encode()

    fast = decode_tensor(text, [(2, 2)])

    assert fast is not None
    assert np.array_equal(fast[..., np.newaxis], decode_rows(SHAPES, pictures))


def ragged(depth: int) -> st.SearchStrategy[object]:
    inner = st.integers(0, 9) if depth == 0 else st.integers(0, 9) | ragged(depth - 1)
    return st.lists(inner, max_size=3)


@given(ragged(3))
def test_the_fast_way_takes_nothing_but_whole_tensors(tensor: object) -> None:
    fast = decode_tensor(json.dumps(tensor).encode(), [(2,), (1, 2)])

    try:
        shape = np.array(tensor, float).shape
    except ValueError:
        shape = ()
    whole = len(shape) > 1 and shape[0] > 0 and shape[1:] in {(2,), (1, 2)}
    assert (fast is not None) == whole
    assert fast is None or np.array_equal(fast, np.array(tensor, np.float32))


@pytest.mark.parametrize("shape", [(2**60,), (2**60, 0), (0, 2**60), (3,)])
def test_the_fast_way_makes_nothing_longer_than_the_text(shape: tuple[int, ...]) -> None:
    text = b"[[1, 2]]" if len(shape) == 1 else b"[[[1, 2]]]"

    assert decode_tensor(text, [shape]) is None


def test_a_number_beyond_float64_is_left_to_the_slow_way() -> None:
    assert decode_tensor(b"[[1, 1e999]]", [(2,)]) is None


def test_a_csv_may_have_its_columns_in_any_order_and_more_of_them() -> None:
    text = 'town,colour, rooms \r\nBonn,red,3\r\n\r\n"Aa","a, b",1.5\r\n'

    found = decode_csv(b"\xef\xbb\xbf" + text.encode(), PRICES)

    assert found.tolist() == [[3, 1], [1.5, 0]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "the CSV is empty; its first line must name the columns"),
        (b"\n\n", "the CSV is empty; its first line must name the columns"),
        (b"rooms,town\n", "the CSV has a header but no row"),
        (b"rooms\n3\n", "the CSV's header lacks column 'town'; it has 'rooms'"),
        (b"a,b\n3,4\n", "the CSV's header lacks column 'rooms', 'town'; it has 'a', 'b'"),
        (b"rooms,town,town\n", "the CSV's header has column 'town' twice"),
        (b"rooms,town\n3,Aa\nmany,Aa\n", "row 1, column 'rooms': 'many' is not a number"),
        (b"rooms,town\n,Aa\n", "row 0, column 'rooms': is empty"),
        (b"rooms,town\nnan,Aa\n", "row 0, column 'rooms': 'nan' is not a number"),
        (b"rooms,town\n3,Ulm\n", "row 0, column 'town': 'Ulm' is not one of 'Aa', 'Bonn'"),
        (b"rooms,town\n3,Aa\n3\n", "row 1: 1 cells, but the header has 2"),
        (b"rooms,town\n3,\xff\n", "the CSV is not UTF-8: invalid start byte at byte 13"),
        (b'rooms,town\n3,"Aa', "not a CSV: unexpected end of data"),
    ],
)
def test_a_bad_csv_is_refused_with_the_place(text: bytes, message: str) -> None:
    with pytest.raises(Invalid) as caught:
        decode_csv(text, PRICES)

    assert str(caught.value) == message


def test_a_csv_of_pictures_has_a_picture_a_line() -> None:
    pictures = decode_csv(b"0,1,2,3\n4,5,6,7\n", SHAPES)

    assert pictures.reshape(2, 4).tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    with pytest.raises(RowInvalid, match=r"row 0: .* is not a picture of numbers"):
        decode_csv(b"image\n1\n", SHAPES)


def test_a_csv_without_header_is_taken_in_the_models_order() -> None:
    assert decode_csv(b"3,Bonn\n1,Aa\n", PRICES).tolist() == [[3, 1], [1, 0]]


def test_the_faults_of_all_rows_are_told() -> None:
    with pytest.raises(RowFaults) as caught:
        decode_csv(b"rooms,town\n3,Bonn\nx,Aa\n1,Cc\n", PRICES)

    assert [(one.row, one.column) for one in caught.value.faults] == [(1, "rooms"), (2, "town")]


PROBABILITIES = np.array([[0.25, 0.75], [0.9, 0.1]], np.float32)
AMOUNTS = np.array([[12.5], [-0.1]], np.float32)


def test_a_tensor_answer_is_tensorflow_servings() -> None:
    by_row = json.loads(tensor_answer(PROBABILITIES))
    by_column = json.loads(tensor_answer(PROBABILITIES, by_column=True))

    assert by_row == {"predictions": PROBABILITIES.tolist()}
    assert by_column == {"outputs": PROBABILITIES.tolist()}


def test_outputs_that_are_not_finite_are_bare_words_and_not_null() -> None:
    outputs = np.array([[math.nan, math.inf, -math.inf]], np.float32)

    assert tensor_answer(outputs) == b'{"predictions":[[NaN,Infinity,-Infinity]]}'


def test_a_labelled_answer_names_the_class_and_every_probability() -> None:
    first, second = labelled_rows(SHAPES, PROBABILITIES)

    assert first == {"label": "dark", "probabilities": {"light": 0.25, "dark": 0.75}}
    assert second["label"] == "light"  # type: ignore[index]


def test_a_labelled_answer_of_a_number_names_it() -> None:
    assert labelled_rows(PRICES, AMOUNTS) == [{"price": 12.5}, {"price": float(np.float32(-0.1))}]


def test_a_csv_answer_has_a_line_per_row_and_short_numbers() -> None:
    assert csv_answer(SHAPES, PROBABILITIES).decode().splitlines() == [
        "label,probability_light,probability_dark",
        "dark,0.25,0.75",
        "light,0.9,0.1",
    ]
    assert csv_answer(PRICES, AMOUNTS).decode().splitlines() == ["price", "12.5", "-0.1"]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_row_with_an_output_that_is_not_finite_has_no_label_and_is_strict_json(
    bad: float,
) -> None:
    outputs = np.array([[0.25, 0.75], [0.25, bad]], np.float32)

    first, second = labelled_rows(SHAPES, outputs)

    assert first == {"label": "dark", "probabilities": {"light": 0.25, "dark": 0.75}}
    assert second == {"label": None, "probabilities": {"light": 0.25, "dark": None}}
    assert labelled_rows(PRICES, outputs[:, 1:]) == [{"price": 0.75}, {"price": None}]
    assert json.loads(encode_json(second), parse_constant=pytest.fail) == second
    assert csv_answer(SHAPES, outputs).decode().splitlines()[1:] == [
        "dark,0.25,0.75",
        f",0.25,{bad}",
    ]


def test_rows_that_are_answered_with_what_is_not_finite_are_faults_among_the_others() -> None:
    outputs = np.array([[1, 2], [np.nan, 2], [1, 2], [1, np.inf]], np.float32)

    told, faults = set_aside([RowFault(1, "a", "is empty"), RowFault(3, "a", "bad")], outputs)

    assert told.tolist() == [True, False, True, False]
    assert [(fault.row, fault.rule) for fault in faults] == [
        (1, "is empty"),
        (2, NOT_FINITE),
        (3, "bad"),
        (5, NOT_FINITE),
    ]


def test_a_label_with_a_comma_stays_one_cell() -> None:
    spec = ModelSpec(
        model="words",
        input=TableInput(columns=(CategoryColumn(name="a", values=("x",)),)),
        layers=SHAPES.layers[1:],
        output=Classes(labels=("yes, sir", "no")),
        loss=SHAPES.loss,
    )

    assert csv_answer(spec, PROBABILITIES).splitlines()[2] == b'"yes, sir",0.9,0.1'


def test_pauses_double_up_to_a_minute() -> None:
    assert [backoff_seconds(n) for n in range(1, 9)] == [1, 2, 4, 8, 16, 32, 60, 60]
    assert backoff_seconds(10_000) == 60


@pytest.mark.parametrize(
    ("visible", "cpu_max", "usable"),
    [
        (2, "", 2),
        (64, "max 100000\n", 64),
        (64, "200000 100000\n", 2),
        (64, "150000 100000\n", 2),
        (64, "10000 100000\n", 1),
        (2, "800000 100000\n", 2),
        (2, "100000 0\n", 2),
    ],
)
def test_a_quota_limits_the_cpus(visible: int, cpu_max: str, usable: int) -> None:
    assert usable_cpus(visible, cpu_max) == usable
