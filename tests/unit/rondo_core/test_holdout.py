"""The holdout file: round trip, and every lie that its header can tell."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from safetensors.numpy import load

from rondo_core.errors import HeaderInvalid, Invalid
from rondo_core.holdout import decode_holdout, encode_holdout

X = np.arange(6, dtype=np.float32).reshape(3, 2)
Y = np.array([0, 2, 1], dtype=np.int64)


def with_header(text: bytes, data: bytes) -> bytes:
    return len(text).to_bytes(8, "little") + text + data


@given(
    st.integers(1, 5).flatmap(
        lambda n: st.tuples(
            arrays.arrays(np.float32, (n, 2, 3), elements=st.floats(-9, 9, width=32)),
            arrays.arrays(np.int64, (n,), elements=st.integers(0, 9)),
        )
    )
)
def test_any_arrays_come_back_as_they_were_stored(pair: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = decode_holdout(encode_holdout(*pair))

    np.testing.assert_array_equal(pair[0], x)
    np.testing.assert_array_equal(pair[1], y)
    assert (x.dtype.name, y.dtype.name) == ("float32", "int64")


def test_the_file_is_safetensors_that_anyone_can_read() -> None:
    loaded = load(encode_holdout(X, Y))

    np.testing.assert_array_equal(X, loaded["x"])
    np.testing.assert_array_equal(Y, loaded["y"])


def test_float64_is_stored_as_float32_and_pictures_keep_their_bytes() -> None:
    x, y = decode_holdout(encode_holdout(np.full((1, 2, 2, 1), 7, np.uint8), [1.5]))

    assert (x.dtype.name, y.dtype.name) == ("uint8", "float32")


def test_the_same_arrays_give_the_same_bytes_whatever_their_memory_order() -> None:
    assert encode_holdout(X, Y) == encode_holdout(np.asfortranarray(X), Y)


@pytest.mark.parametrize(
    ("x", "y", "rule"),
    [
        (X, Y[:2], "x has 3 examples and y has 2"),
        (X[:0], Y[:0], "x has shape"),
        (np.float32(1), Y, "x has shape"),
        (X, np.array([0.0, np.nan, 1.0]), "y holds NaN"),
        (X.astype(np.complex64), Y, "x is complex64"),
        (np.array([["a"], ["b"], ["c"]]), Y, "x is <U1"),
    ],
)
def test_what_is_no_holdout_is_refused_before_it_is_written(
    x: np.ndarray, y: np.ndarray, rule: str
) -> None:
    with pytest.raises(Invalid, match=rule):
        encode_holdout(x, y)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x01",
        (2**40).to_bytes(8, "little") + b"{}",
        with_header(b"{}", b""),
        with_header(b"\xff\xfe", b""),
        with_header(
            b'{"x":{"dtype":"F64","shape":[1],"data_offsets":[0,8]},'
            b'"y":{"dtype":"I64","shape":[1],"data_offsets":[8,16]}}',
            bytes(16),
        ),
        with_header(
            b'{"x":{"dtype":"U8","shape":[-1,-1],"data_offsets":[0,1]},'
            b'"y":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}',
            bytes(2),
        ),
        with_header(
            b'{"x":{"dtype":"U8","shape":[1000000000000],"data_offsets":[0,1000000000000]},'
            b'"y":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}',
            bytes(2),
        ),
        with_header(
            b'{"y":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},'
            b'"x":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}',
            bytes(2),
        ),
        with_header(
            b'{"x":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},'
            b'"x":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},'
            b'"y":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}',
            bytes(2),
        ),
        encode_holdout(X, Y)[:-1],
        encode_holdout(X, Y) + b"!",
    ],
    ids=[
        "empty",
        "no length",
        "header bomb",
        "no arrays",
        "not text",
        "another type",
        "negative shape",
        "beyond the end",
        "other order",
        "a key twice",
        "cut",
        "too long",
    ],
)
def test_a_header_that_lies_is_refused(data: bytes) -> None:
    with pytest.raises(HeaderInvalid):
        decode_holdout(data)


def test_a_well_formed_file_with_nan_or_unequal_lengths_is_refused() -> None:
    good = encode_holdout(X, Y)
    nan = good[: -Y.nbytes - 4] + np.float32(np.nan).tobytes() + Y.tobytes()
    unequal = encode_holdout(X, Y).replace(b'"shape":[3,2]', b'"shape":[2,3]')

    with pytest.raises(Invalid, match="x holds NaN"):
        decode_holdout(nan)
    with pytest.raises(Invalid, match="x has 2 examples and y has 3"):
        decode_holdout(unequal)
