"""A data owner's examples: arrays, rows, data frames and files."""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from rondo.data_files import load_examples
from rondo.examples import encode_examples
from rondo_core.errors import Invalid, RowInvalid
from rondo_core.model_spec import ModelSpec, parse_model_spec

TABLE = """{"kind": "table", "columns": [{"kind": "number", "name": "age"},
  {"kind": "category", "name": "ward", "values": ["east", "west"]}]}"""
IMAGE = '{"kind": "image", "height": 2, "width": 2, "maximum": 16}'


def spec_of(source: str, labels: list[str]) -> ModelSpec:
    flatten = '{"kind": "Flatten", "name": "flat"},' if source is IMAGE else ""
    document = f"""{{"model": "m", "input": {source}, "layers": [{flatten} {{"kind": "Dense",
      "name": "out", "units": {len(labels)}, "activation": "softmax"}}],
      "output": {{"kind": "classes", "labels": {msgspec.json.encode(labels).decode()}}},
      "loss": "sparse_categorical_crossentropy"}}"""
    return parse_model_spec(document.encode())


@pytest.fixture
def ward_spec() -> ModelSpec:
    return spec_of(TABLE, ["ill", "well"])


@pytest.fixture
def picture_spec() -> ModelSpec:
    return spec_of(IMAGE, ["0", "1", "5"])


class Frame:
    """As much of a data frame as is looked at."""

    def __init__(self, rows: list[dict[str, object]]) -> None:
        self.rows = rows

    def to_dict(self, orient: str) -> list[dict[str, object]]:
        assert orient == "records"
        return self.rows


ROWS: list[dict[str, object]] = [{"age": 3, "ward": "west"}, {"age": "4.5", "ward": "east"}]


@pytest.mark.parametrize(
    "x",
    [
        ROWS,
        Frame(ROWS),
        [[3, "west"], [4.5, "east"]],
        np.array([[3, "west"], [4.5, "east"]], dtype=object),
        np.array([[3.0, 1.0], [4.5, 0.0]]),
    ],
    ids=["dicts", "frame", "lists", "objects", "numbers"],
)
def test_rows_of_every_form_are_the_same_examples(ward_spec: ModelSpec, x: Any) -> None:
    inputs, targets = encode_examples(ward_spec, x, ["well", "ill"])

    assert inputs.tolist() == [[3.0, 1.0], [4.5, 0.0]]
    assert inputs.dtype == np.float32
    assert targets.tolist() == [1, 0]


@pytest.mark.parametrize("shape", [(2, 2, 2, 1), (2, 2, 2), (2, 4)])
def test_pictures_may_leave_out_the_channel_or_be_flat(
    picture_spec: ModelSpec, shape: tuple[int, ...]
) -> None:
    x = np.arange(8, dtype=np.uint8).reshape(shape)

    inputs, _ = encode_examples(picture_spec, x, [0, 1])

    assert inputs.shape == (2, 2, 2, 1)
    assert inputs.ravel().tolist() == list(range(8))


def test_numbers_are_labels_where_labels_are_numbers(picture_spec: ModelSpec) -> None:
    _, targets = encode_examples(picture_spec, np.zeros((3, 4)), np.array([5, 0, 1]))

    assert targets.tolist() == [2, 0, 1]
    with pytest.raises(RowInvalid, match="2 is not one of '0', '1', '5'"):
        encode_examples(picture_spec, np.zeros((1, 4)), np.array([2]))


def test_numbers_are_positions_where_labels_are_words(ward_spec: ModelSpec) -> None:
    x = np.zeros((2, 2))

    assert encode_examples(ward_spec, x, np.array([1, 0]))[1].tolist() == [1, 0]
    with pytest.raises(Invalid, match=r"y holds 0\.\.2, but there are 2 labels"):
        encode_examples(ward_spec, x, np.array([0, 2]))


def test_a_number_may_be_the_target_and_a_column_is_as_good_as_a_row(spec: ModelSpec) -> None:
    _, targets = encode_examples(spec, np.zeros((2, 2)), np.array([[1.5], [2.5]]))

    assert targets.tolist() == [1.5, 2.5]


@pytest.mark.parametrize(
    ("x", "y", "text"),
    [
        (np.zeros((3, 2)), [0, 1], "x has 3 examples and y has 2"),
        (np.zeros((2, 3)), [0, 1], "is not numbers of shape"),
        (np.zeros(2), [0, 1], "is not numbers of shape"),
        (np.zeros((2, 2)), [[0, 1], [1, 0]], r"y has shape \(2, 2\)"),
        ([{"age": 1}], ["ill"], "row 0, column 'ward': is missing"),
        ([{"age": "old", "ward": "east"}], ["ill"], "'old' is not a number"),
    ],
)
def test_examples_that_do_not_fit_are_refused_with_place_and_rule(
    ward_spec: ModelSpec, x: Any, y: Any, text: str
) -> None:
    with pytest.raises(Invalid, match=text):
        encode_examples(ward_spec, x, y)


def test_a_csv_is_read_by_the_specs_columns(ward_spec: ModelSpec, tmp_path: Path) -> None:
    path = tmp_path / "ward.csv"
    path.write_text("﻿id,ward,age,state\n7,west,3,well\n8,east,4.5,ill\n", encoding="utf-8")

    inputs, targets = encode_examples(ward_spec, *load_examples(path))

    assert inputs.tolist() == [[3.0, 1.0], [4.5, 0.0]]
    assert targets.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("label", "header", "expected"),
    [(None, "a,label,b", "2"), ("a", "a,label,b", "1"), (None, "a,c,b", "3")],
)
def test_the_label_column_is_the_one_named_else_label_else_the_last(
    tmp_path: Path, label: str | None, header: str, expected: str
) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(f"{header}\n1,2,3\n")

    x, y = load_examples(path, label)

    assert y == [expected]
    assert len(x[0]) == 2  # type: ignore[index,arg-type]


def test_an_npz_holds_x_and_y(tmp_path: Path) -> None:
    path = tmp_path / "data.NPZ"
    with path.open("wb") as file:
        np.savez(file, x=np.ones((2, 3)), y=np.array([0, 1]))

    x, y = load_examples(path)

    assert np.asarray(x).shape == (2, 3)
    assert np.asarray(y).shape == (2,)


def test_pickled_arrays_are_never_loaded(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    np.savez(path, x=np.array([{}], dtype=object), y=np.array([0]))

    with pytest.raises(Invalid, match="not a file of plain arrays"):
        load_examples(path)


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("data.parquet", b"", r"\.parquet is not one of"),
        ("data", b"", "no suffix is not one of"),
        ("data.npz", b"", "not a file of plain arrays"),
        ("data.npz", b"PK\x03\x04junk", "not a file of plain arrays"),
        ("data.csv", b"", "has no rows"),
        ("data.csv", b"a,label\n", "has no rows"),
        ("data.csv", b"a,label\n1,2\n3\n", r"row 2 \(line 3 of the file\): not 2 values"),
        ("data.csv", b"a,label\n1,2,3\n", r"row 1 \(line 2 of the file\): not 2 values"),
        ("data.csv", b"a,label\n\xff,1\n", "line"),
        ("data.csv", b'a,label\n"1"2,3\n', "after line 1"),
    ],
)
def test_files_that_hold_something_else_are_named(
    tmp_path: Path, name: str, content: bytes, text: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)

    with pytest.raises(Invalid, match=text):
        load_examples(path)


def test_what_is_missing_in_a_file_is_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", x=np.ones(2))
    (tmp_path / "data.csv").write_text("a,b\n1,2\n")

    with pytest.raises(Invalid, match="must hold the arrays x and y"):
        load_examples(tmp_path / "data.npz")
    with pytest.raises(Invalid, match="no column 'c'; it has a, b"):
        load_examples(tmp_path / "data.csv", "c")


BOUNDED = """{"kind": "table", "columns": [{"kind": "number", "name": "age", "maximum": 120},
  {"kind": "number", "name": "height", "minimum": 40, "out_of_range": "warn"}]}"""


@pytest.mark.parametrize("kind", [list, np.array])
def test_examples_beyond_a_bound_that_is_told_warn_with_their_number(kind: Any) -> None:
    spec = spec_of(BOUNDED, ["ill", "well"])
    x = [[3, 90], [80, 30], [81, 20.5]]

    with pytest.warns(
        UserWarning, match="'height': 2 of 3 values are below minimum 40.0, .* index 1"
    ):
        inputs, _ = encode_examples(spec, kind(x), ["ill", "well", "ill"])

    assert inputs.tolist() == x


@pytest.mark.parametrize("kind", [list, np.array])
def test_examples_beyond_a_bound_that_is_refused_are_refused(kind: Any) -> None:
    spec = spec_of(BOUNDED, ["ill", "well"])
    x = [[3, 90], [121, 90]]

    with pytest.raises(RowInvalid, match=r"row 1, column 'age': 121\.0 is above maximum 120\.0"):
        encode_examples(spec, kind(x), ["ill", "well"])
