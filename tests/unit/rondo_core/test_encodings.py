"""Encodings: hand-worked files, round trips and their bounds, and what is refused."""

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors import deserialize

from rondo_core.encodings import (
    check_encoding,
    decode,
    encode,
    form_of,
    form_of_file,
    parse_encoding,
)
from rondo_core.errors import EncodingInvalid, HeaderInvalid, LayoutMismatch
from rondo_core.layout import Float32Array, Layout, TensorSpec
from rondo_core.weights import encode as encode_weights

LAYOUT = Layout((TensorSpec("hidden/kernel", (2, 2)), TensorSpec("alpha/scale", ())))
FLAT = np.array([1.0, -2.5, 0.25, 1e-8, 3.0], np.float32)
EVERY = ["float32", "float16", "bfloat16", "int8", "top-k:0.4"]

sizes = st.integers(1, 40)
columns = st.floats(width=32, allow_nan=False, allow_infinity=False)


def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def model(size: int) -> Layout:
    """A model of two tensors, or of one."""
    first = -(-size // 2)
    rest = [TensorSpec("b/b", (size - first,))] if size > first else []
    return Layout((TensorSpec("a/a", (first,)), *rest))


deltas = sizes.flatmap(lambda size: hnp.arrays(np.float32, size, elements=columns))
small = sizes.flatmap(
    lambda size: hnp.arrays(np.float32, size, elements=st.floats(-6e4, 6e4, width=32))
)


# --- names ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("float64", "unknown encoding 'float64'; known: bfloat16, float16, float32, int8, top-k"),
        ("int8:2", "encoding 'int8' takes no share, found '2'"),
        ("top-k", "encoding 'top-k' is not 'top-k:SHARE' with 0 < SHARE <= 0.5"),
        ("top-k:0", "encoding 'top-k:0' is not"),
        ("top-k:0.51", "encoding 'top-k:0.51' is not"),
        ("top-k:nan", "encoding 'top-k:nan' is not"),
        ("top-k:many", "encoding 'top-k:many' is not"),
    ],
)
def test_an_encoding_that_does_not_exist_is_refused_with_its_name(text: str, rule: str) -> None:
    with pytest.raises(EncodingInvalid, match=rule):
        parse_encoding(text)


@pytest.mark.parametrize("columns", [1, 3, 40, 1000])
def test_top_k_sends_the_nearest_number_of_columns_and_at_least_one(columns: int) -> None:
    assert parse_encoding("top-k:0.1").entries(columns) == {1: 1, 3: 1, 40: 4, 1000: 100}[columns]


@pytest.mark.parametrize(
    ("strategy", "rule"),
    [
        ("fednova", "strategy 'fednova' divides a delta by the steps of its round"),
        ("median", "column rule 'median' compares the clients' values"),
        ("trimmed-mean", "column rule 'trimmed-mean' compares"),
        ("bulyan", "column rule 'bulyan' compares"),
    ],
)
def test_top_k_is_refused_where_a_strategy_cannot_take_it(strategy: str, rule: str) -> None:
    with pytest.raises(EncodingInvalid, match=rule):
        check_encoding("top-k:0.1", strategy, {})

    check_encoding("int8", strategy, {})
    check_encoding("top-k:0.1", "fedavg", {})
    check_encoding("top-k:0.1", "acme.median", {})


def test_top_k_is_refused_with_scaffold() -> None:
    with pytest.raises(EncodingInvalid, match="strategy 'scaffold' divides"):
        check_encoding("top-k:0.1", "scaffold", {"population": 3})


# --- files by hand --------------------------------------------------------------------------------


def parts(encoding: str, flat: Float32Array = FLAT) -> tuple[bytes, bytes]:
    """The header's JSON, and what follows it."""
    data = encode(LAYOUT, flat, encoding, rng())
    end = 8 + int.from_bytes(data[:8], "little")
    return data[8:end].rstrip(b" "), data[end:]


def test_float32_is_the_file_that_weights_are() -> None:
    assert encode(LAYOUT, FLAT, "float32", rng()) == encode_weights(LAYOUT, FLAT)


def test_float16_by_hand() -> None:
    header, data = parts("float16")

    assert header == (
        b'{"hidden/kernel":{"dtype":"F16","shape":[2,2],"data_offsets":[0,8]},'
        b'"alpha/scale":{"dtype":"F16","shape":[],"data_offsets":[8,10]}}'
    )
    # 1, -2.5 and 0.25 are exact; 1e-8 is below half of the smallest, 2^-24; 3 is exact
    assert data == np.array([0x3C00, 0xC100, 0x3400, 0x0000, 0x4200], "<u2").tobytes()


def test_bfloat16_by_hand() -> None:
    header, data = parts("bfloat16")

    assert b'"hidden/kernel":{"dtype":"BF16","shape":[2,2],"data_offsets":[0,8]}' in header
    # the upper halves of 3F800000, C0200000, 3E800000, 322BCC77 (rounded up), 40400000
    assert data == np.array([0x3F80, 0xC020, 0x3E80, 0x322C, 0x4040], "<u2").tobytes()


def test_int8_by_hand() -> None:
    flat = np.array([127.0, -254.0, 2.0, 0.0, 0.0], np.float32)  # scales 254/127 = 2, and 0

    header, data = parts("int8", flat)

    assert header == (
        b'{"scales":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},'
        b'"hidden/kernel":{"dtype":"I8","shape":[2,2],"data_offsets":[8,12]},'
        b'"alpha/scale":{"dtype":"I8","shape":[],"data_offsets":[12,13]}}'
    )
    assert data[:8] == np.array([2, 0], "<f4").tobytes()
    first, *others = np.frombuffer(data[8:], np.int8)
    assert first in {63, 64}  # 127 / 2 lies between them
    assert others == [-127, 1, 0, 0]


def test_top_k_by_hand() -> None:
    header, data = parts("top-k:0.4")

    assert header == (
        b'{"index":{"dtype":"U32","shape":[2],"data_offsets":[0,8]},'
        b'"value":{"dtype":"F32","shape":[2],"data_offsets":[8,16]}}'
    )
    assert data == np.array([1, 4], "<u4").tobytes() + np.array([-2.5, 3], "<f4").tobytes()


def test_of_equal_magnitudes_top_k_sends_the_first() -> None:
    flat = np.array([1, -2, 2, -2, 2], np.float32)

    assert decode(encode(LAYOUT, flat, "top-k:0.4", rng()), LAYOUT, "top-k:0.4").tolist() == [
        0, -2, 2, 0, 0,
    ]  # fmt: skip


# --- round trips ----------------------------------------------------------------------------------


@given(flat=small)
def test_float16_is_the_nearest_half(flat: Float32Array) -> None:
    layout = model(flat.size)

    found = decode(encode(layout, flat, "float16", rng()), layout, "float16")

    assert found.tobytes() == flat.astype(np.float16).astype(np.float32).tobytes()
    half_ulps = np.maximum(np.abs(flat) * 2.0**-11, 2.0**-25)
    assert (np.abs(found.astype(np.float64) - flat) <= half_ulps).all()


@given(flat=deltas)
def test_bfloat16_is_the_nearest_brain_float(flat: Float32Array) -> None:
    layout = model(flat.size)

    found = decode(encode(layout, flat, "bfloat16", rng()), layout, "bfloat16")

    assert found.tobytes() == flat.astype(ml_dtypes.bfloat16).astype(np.float32).tobytes()


def test_every_code_of_the_halves_means_what_numpy_says() -> None:
    kinds = (("float16", np.float16, 0x7C00), ("bfloat16", ml_dtypes.bfloat16, 0x7F80))
    for encoding, dtype, special in kinds:
        codes = np.arange(2**16, dtype=np.uint16)
        values = codes[codes & special != special].view(dtype)
        form = form_of(Layout((TensorSpec("a/a", values.shape),)), encoding)

        found = form.decode(form.prefix + values.tobytes())

        assert found.tobytes() == values.astype(np.float32).tobytes()


@given(flat=deltas, seed=st.integers(0, 2**32))
def test_int8_is_never_off_by_a_scale(flat: Float32Array, seed: int) -> None:
    layout = Layout((TensorSpec("a/a", (flat.size,)),))
    flat = flat / np.float32(2)  # the largest float32 has no scale

    found = decode(
        encode(layout, flat, "int8", np.random.default_rng(seed)), layout, "int8"
    ).astype(np.float64)

    scale = np.float64(np.abs(flat).max()) / 127
    assert (np.abs(found - flat) <= scale * (1 + 1e-6) + 1e-45).all()


def test_int8_is_right_on_average() -> None:
    layout = Layout((TensorSpec("a/a", (40_001,)),))
    flat = np.full(40_001, 0.3, np.float32)
    flat[0] = 127  # so that the scale is 1

    found = decode(encode(layout, flat, "int8", rng()), layout, "int8")

    assert set(found[1:]) == {0, 1}
    assert abs(found[1:].mean() - 0.3) < 5 * (0.3 * 0.7 / 40_000) ** 0.5


def test_int8_draws_the_same_from_the_same_seed_and_no_other() -> None:
    layout = model(1000)
    flat = np.random.default_rng(1).standard_normal(1000).astype(np.float32)

    one, same, other = (
        encode(layout, flat, "int8", np.random.default_rng(seed)) for seed in (1, 1, 2)
    )

    assert one == same
    assert one != other


@given(flat=deltas, share=st.floats(0.01, 0.5))
def test_what_top_k_sends_and_what_is_left_are_the_delta(flat: Float32Array, share: float) -> None:
    layout, encoding = model(flat.size), f"top-k:{share}"

    found = decode(encode(layout, flat, encoding, rng()), layout, encoding)

    left = flat - found
    assert (found + left == flat).all()
    assert np.logical_or(found == 0, left == 0).all()
    sent = np.sort(np.abs(flat))[-parse_encoding(encoding).entries(flat.size) :]
    assert np.count_nonzero(found) == np.count_nonzero(sent)
    assert np.abs(left).max() <= sent[0]


@given(flat=small, encoding=st.sampled_from(EVERY), cut=st.integers(0, 40), data=st.data())
def test_a_stretch_of_a_file_is_the_same_columns_as_the_whole(
    flat: Float32Array, encoding: str, cut: int, data: st.DataObject
) -> None:
    layout = model(flat.size)
    form = form_of(layout, encoding)
    file = memoryview(encode(layout, flat, encoding, rng()))
    start = min(cut, flat.size - 1)
    stop = data.draw(st.integers(start + 1, flat.size))
    head, body = (file[slice(*ends)] for ends in (form.head, form.span(start, stop)))

    stretch = form.columns(head, body, start, stop)

    whole = form.decode(file)
    middle = (stop - start) // 2
    assert stretch.size == stop - start
    assert stretch[:].tobytes() == whole[start:stop].tobytes()
    assert stretch[middle:].tobytes() == whole[start + middle : stop].tobytes()
    assert stretch[:middle].tobytes() == whole[start : start + middle].tobytes()


@given(flat=small, encoding=st.sampled_from(EVERY))
def test_the_library_reads_what_we_write_and_its_length_is_known(
    flat: Float32Array, encoding: str
) -> None:
    layout = model(flat.size)
    file = encode(layout, flat, encoding, rng())

    read: Any = deserialize
    tensors = {name: tuple(found["shape"]) for name, found in read(file)}

    form = form_of(layout, encoding)
    assert len(file) == form.size_bytes
    assert tensors == {name: shape for name, _, shape in form.codec.tensors}


# --- recognised and refused -----------------------------------------------------------------------


@pytest.mark.parametrize("encoding", EVERY)
def test_a_file_shows_its_encoding(encoding: str) -> None:
    file = encode(LAYOUT, FLAT, encoding, rng())

    found = form_of_file(file, LAYOUT)

    assert found == form_of(LAYOUT, encoding)


@pytest.mark.parametrize(
    "file", [b"", b"PK\x03\x04" + bytes(60), encode_weights(Layout(LAYOUT.tensors[:1]), FLAT[:4])]
)
def test_what_is_no_update_of_the_model_shows_none(file: bytes) -> None:
    assert form_of_file(file, LAYOUT) is None


def test_a_model_with_a_tensor_of_the_scales_name_has_no_int8() -> None:
    layout = Layout((TensorSpec("scales", (2,)),))

    with pytest.raises(EncodingInvalid, match="has a tensor 'scales' of its own"):
        form_of(layout, "int8")


def test_a_model_that_an_index_cannot_count_has_no_top_k() -> None:
    layout = Layout((TensorSpec("a/a", (2**32,)),))

    with pytest.raises(EncodingInvalid, match="4294967296 columns, but an index counts to"):
        form_of(layout, "top-k:0.1")


@pytest.mark.parametrize("encoding", EVERY)
def test_decoding_refuses_another_header_and_another_length(encoding: str) -> None:
    file = encode(LAYOUT, FLAT, encoding, rng())

    with pytest.raises(HeaderInvalid, match="does not start with the header"):
        decode(b"\0" + file[1:], LAYOUT, encoding)
    with pytest.raises(LayoutMismatch, match="expected"):
        decode(file + b"\0", LAYOUT, encoding)


@pytest.mark.parametrize("encoding", EVERY)
def test_encoding_refuses_a_vector_of_another_size(encoding: str) -> None:
    with pytest.raises(LayoutMismatch, match="expected float32"):
        encode(LAYOUT, FLAT[:4], encoding, rng())


@pytest.mark.parametrize("encoding", EVERY)
@given(column=st.integers(0, 4), bad=st.sampled_from([np.nan, np.inf, -np.inf]))
def test_what_is_not_finite_gives_a_file_that_is_refused(
    encoding: str, column: int, bad: float
) -> None:
    flat = FLAT.copy()
    flat[column] = bad
    file = memoryview(encode(LAYOUT, flat, encoding, rng()))

    fault = form_of(LAYOUT, encoding).fault(file)

    assert fault is not None
    name, position = LAYOUT.locate(column)
    expected = f"the scale of {name} is" if encoding == "int8" else f"{name} at {list(position)} is"
    assert fault.rule.startswith(expected)


@pytest.mark.parametrize("encoding", EVERY)
def test_what_is_finite_has_no_fault(encoding: str) -> None:
    file = memoryview(encode(LAYOUT, FLAT, encoding, rng()))

    assert form_of(LAYOUT, encoding).fault(file) is None


def test_float16_refuses_what_is_above_its_largest_value() -> None:
    flat = np.array([65_519, 65_520, 0, 0, 0], np.float32)  # the second rounds to 65,536
    file = memoryview(encode(LAYOUT, flat, "float16", rng()))

    fault = form_of(LAYOUT, "float16").fault(file)

    assert fault is not None
    assert fault.code == "not-finite"
    assert fault.rule == "hidden/kernel at [0, 1] is inf, not a finite number"


@pytest.mark.parametrize("scale", [np.nan, np.inf, -np.inf, -1e-3, 2.66e36])
def test_a_scale_that_is_none_is_refused(scale: float) -> None:
    file = bytearray(encode(LAYOUT, FLAT, "int8", rng()))
    form = form_of(LAYOUT, "int8")
    file[form.head[0] + 4 : form.head[1]] = np.float32(scale).tobytes()

    fault = form.fault(memoryview(file))

    assert fault is not None
    assert fault.code == "wrong-scale"
    assert (
        fault.rule == f"the scale of alpha/scale is {np.float32(scale)}, not from 0 to 2.65846e+36"
    )


@pytest.mark.parametrize(
    ("index", "rule"),
    [
        ([1, 1], "entry 1 is column 1, after column 1: columns ascend, each once"),
        ([3, 1], "entry 1 is column 1, after column 3: columns ascend, each once"),
        ([1, 5], "column 5, but the model has 5"),
        ([1, 2**32 - 1], "column 4294967295, but the model has 5"),
    ],
)
def test_an_index_out_of_order_or_range_is_refused(index: list[int], rule: str) -> None:
    file = bytearray(encode(LAYOUT, FLAT, "top-k:0.4", rng()))
    form = form_of(LAYOUT, "top-k:0.4")
    file[form.head[0] : form.head[0] + 8] = np.array(index, "<u4").tobytes()

    fault = form.fault(memoryview(file))

    assert fault is not None
    assert (fault.code, fault.rule) == ("wrong-index", rule)


@pytest.mark.parametrize("place", [0, 1, 65_535, 65_536, 99_999])
def test_the_edges_of_blocks_of_an_index_are_looked_at(place: int) -> None:
    layout = Layout((TensorSpec("a/a", (300_000,)),))
    form = form_of(layout, f"top-k:{1 / 3}")
    index = np.arange(100_000, dtype="<u4") * 3
    twice = index.copy()
    twice[place] = twice[place - 1] if place else twice[1]
    right, wrong = (form.prefix + one.tobytes() + bytes(400_000) for one in (index, twice))

    assert form.fault(memoryview(right)) is None
    fault = form.fault(memoryview(wrong))
    assert fault is not None
    assert fault.code == "wrong-index"
