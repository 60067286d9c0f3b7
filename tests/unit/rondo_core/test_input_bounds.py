"""Numbers beyond the bounds of their columns: refused or told, whatever way they came in."""

import json
import re
from typing import Any

import msgspec
import numpy as np
import pytest

from rondo_core.errors import RowInvalid, SpecInvalid
from rondo_core.input_arrays import check_inputs
from rondo_core.input_bounds import Beyond, told_by_row, warned
from rondo_core.input_schema import CategoryColumn, ImageInput, NumberColumn, TableInput
from rondo_core.model_inputs import decode_rows
from rondo_core.model_layers import Dense
from rondo_core.model_spec import ModelSpec, encode_model_spec, parse_model_spec
from rondo_core.output_schema import Number

AGE = NumberColumn(name="age", minimum=0.1, maximum=120)
TOWN = CategoryColumn(name="town", values=("Aa", "Bonn"))
ROOMS = NumberColumn(name="rooms", maximum=9, out_of_range="warn")
AREA = NumberColumn(name="area", minimum=10, out_of_range="warn")


def spec(*columns: Any) -> ModelSpec:
    return ModelSpec(
        model="prices",
        input=TableInput(columns=columns),
        layers=(Dense(name="head", units=1),),
        output=Number(name="price"),
        loss="mean_squared_error",
    )


PRICES = spec(AGE, TOWN, ROOMS, AREA)
NUMBERS = spec(AGE, ROOMS)


def test_a_spec_without_bounds_keeps_the_digest_that_it_had_before_there_were_any() -> None:
    old = spec(NumberColumn(name="age", mean=40, std=12), TOWN)

    assert b"minimum" not in encode_model_spec(old)
    assert old.sha256 == "cbea5748fc40d5eb8f5a581e1b2acbb91187b33547ae00843100a5ce7f1c2115"
    assert spec(AGE).sha256 != spec(NumberColumn(name="age")).sha256


def test_a_spec_with_bounds_comes_back_as_it_was() -> None:
    assert parse_model_spec(encode_model_spec(PRICES)) == PRICES


@pytest.mark.parametrize(
    ("column", "fault"),
    [
        ({"minimum": 3, "maximum": 2}, "$.input.columns[0].maximum: 2.0 is less than minimum 3.0"),
        (
            {"out_of_range": "warn"},
            "$.input.columns[0].out_of_range: 'warn' needs a minimum or a maximum",
        ),
        (
            {"minimum": 1, "out_of_range": "clip"},
            "$.input.columns[0].out_of_range: Invalid enum value 'clip'; allowed: refuse, warn",
        ),
        ({"minimum": "1"}, "$.input.columns[0].minimum: Expected `float`, got `str`"),
        ({"minimum": None}, "$.input.columns[0].minimum: Expected `float`, got `null`"),
        ({"maximum": 1e31}, "$.input.columns[0].maximum: Expected `float` <= 1e+30"),
    ],
)
def test_bounds_that_say_nothing_or_too_much_are_refused(
    column: dict[str, Any], fault: str
) -> None:
    document = json.loads(encode_model_spec(spec(NumberColumn(name="age"))))
    document["input"]["columns"][0] |= column

    with pytest.raises(SpecInvalid) as caught:
        parse_model_spec(msgspec.json.encode(document))

    assert str(caught.value).startswith(fault)


def test_a_bound_is_within_itself_though_float32_has_no_such_number() -> None:
    rows = [[0.1, "Aa", 9, 10], [120, "Bonn", "-1e9", "10.0"]]

    values = decode_rows(PRICES, rows)

    assert warned(PRICES.input, values) == ()


@pytest.mark.parametrize(
    ("rows", "fault"),
    [
        ([[1, "Aa", 1, 10], [-2, "Aa", 1, 10]], "row 1, column 'age': -2.0 is below minimum 0.1"),
        ([{"age": "120.5", "town": "Aa", "rooms": 1, "area": 10}], "120.5 is above maximum 120"),
    ],
)
def test_a_row_beyond_a_bound_is_refused_with_value_and_bound(rows: list[Any], fault: str) -> None:
    with pytest.raises(RowInvalid, match=fault):
        decode_rows(PRICES, rows)


def test_numbers_that_come_as_an_array_are_refused_by_their_position() -> None:
    with pytest.raises(RowInvalid, match=r"row 1, column 'age': 121\.0 is above maximum 120"):
        check_inputs(NUMBERS, np.array([[1, 99], [121, 1]]))
    with pytest.raises(RowInvalid, match=r"row 0, column 'age': 121\.0 is above maximum 120"):
        decode_rows(NUMBERS, [[121, 1]])


def test_what_is_only_told_is_told_by_column_with_its_rows_counted() -> None:
    values = check_inputs(PRICES, np.array([[1, 0, 10, 9], [1, 1, 9, 10], [1, 0, 11, 10]]))

    assert warned(PRICES.input, values) == (
        Beyond("rooms", "above maximum 9", 2, 0),
        Beyond("area", "below minimum 10", 1, 0),
    )
    assert told_by_row(PRICES.input, values) == {
        0: "column 'rooms': 10.0 is above maximum 9; column 'area': 9.0 is below minimum 10",
        2: "column 'rooms': 11.0 is above maximum 9",
    }


@pytest.mark.parametrize("sent", ["-0.1", "1e+30", "-1234567.0", "16777216.0"])
def test_the_number_that_was_sent_is_told_and_not_all_digits_of_its_float32(sent: str) -> None:
    column = NumberColumn(name="a", minimum=0, maximum=9, out_of_range="warn")
    table = TableInput(columns=(column,))
    picture = msgspec.structs.replace(PRICES, input=ImageInput(height=1, width=1))
    values = np.array([[sent]], np.float32)

    (told,) = told_by_row(table, values).values()

    assert told.startswith(f"column 'a': {sent} is ")
    with pytest.raises(RowInvalid, match=f"{re.escape(sent)} is not in 0"):
        check_inputs(picture, values.reshape(1, 1, 1, 1))


def test_a_row_that_is_beyond_everywhere_is_told_in_short() -> None:
    columns = [NumberColumn(name=f"c{k}", maximum=0, out_of_range="warn") for k in range(9)]
    values = np.ones((1, 9), np.float32)

    (told,) = told_by_row(TableInput(columns=tuple(columns)), values).values()

    assert told.startswith("column 'c0': 1.0 is above maximum 0; ")
    assert told.endswith("; 4 more")


def test_pictures_have_no_such_bounds() -> None:
    picture = ImageInput(height=1, width=1)

    assert warned(picture, np.full((1, 1, 1, 1), 999, np.float32)) == ()
    assert warned(PRICES.input, np.empty((0, 4), np.float32)) == ()
    assert told_by_row(picture, np.full((1, 1, 1, 1), 999, np.float32)) == {}
