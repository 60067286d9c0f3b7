import hashlib
import mmap
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors.numpy import load, save

from rondo_core.encodings import form_of
from rondo_core.encodings.names import FLOAT32
from rondo_core.errors import HeaderInvalid, LayoutMismatch, UpdateInvalid
from rondo_core.update_check import validate_update
from rondo_core.weights import (
    Float32Array,
    Layout,
    TensorSpec,
    decode,
    digest,
    encode,
    first_not_finite,
    layout_of_file,
    sha256_file,
)

# Not in alphabetical order, as models are not; a scalar among them.
LAYOUT = Layout(
    (
        TensorSpec("hidden/kernel", (2, 3)),
        TensorSpec("hidden/bias", (3,)),
        TensorSpec("alpha/scale", ()),
    )
)
FLAT = np.arange(10, dtype=np.float32)

words = st.text("abcXYZ019_", min_size=1, max_size=8)
names = st.builds("/".join, st.lists(words.filter(lambda w: w[0] != "_"), min_size=1, max_size=3))
shapes = st.lists(st.integers(1, 4), max_size=3).map(tuple)
layouts = st.lists(
    st.builds(TensorSpec, names, shapes), min_size=1, max_size=5, unique_by=lambda t: t.name
).map(lambda tensors: Layout(tuple(tensors)))


def flat_of(layout: Layout) -> st.SearchStrategy[Float32Array]:
    return hnp.arrays(np.float32, layout.size, elements=st.floats(width=32))


# --- the layout -----------------------------------------------------------------------------------


def test_the_header_is_spelled_as_the_assignment_promises() -> None:
    expected = (
        b'{"hidden/kernel":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},'
        b'"hidden/bias":{"dtype":"F32","shape":[3],"data_offsets":[24,36]},'
        b'"alpha/scale":{"dtype":"F32","shape":[],"data_offsets":[36,40]}}'
    )

    assert LAYOUT.header.rstrip(b" ") == expected
    assert len(LAYOUT.header) == -(-len(expected) // 8) * 8
    assert LAYOUT.prefix == len(LAYOUT.header).to_bytes(8, "little") + LAYOUT.header
    assert hashlib.sha256(LAYOUT.header).hexdigest() == LAYOUT.digest


def test_sizes_of_a_layout() -> None:
    assert LAYOUT.size == 6 + 3 + 1
    assert LAYOUT.data_offset == 8 + len(LAYOUT.header)
    assert LAYOUT.size_bytes == LAYOUT.data_offset + 40


def test_column_j_lies_at_data_offset_plus_four_j() -> None:
    data = encode(LAYOUT, FLAT)

    for column in range(LAYOUT.size):
        start = LAYOUT.data_offset + 4 * column
        assert np.frombuffer(data[start : start + 4], "<f4") == [column]


def test_the_data_starts_on_a_multiple_of_eight_whatever_the_names() -> None:
    for length in range(1, 20):
        layout = Layout((TensorSpec("a" * length, (1,)),))

        assert layout.data_offset % 8 == 0


@pytest.mark.parametrize(
    ("column", "name", "position"),
    [
        (0, "hidden/kernel", (0, 0)),
        (5, "hidden/kernel", (1, 2)),
        (6, "hidden/bias", (0,)),
        (8, "hidden/bias", (2,)),
        (9, "alpha/scale", ()),
    ],
)
def test_a_column_is_found_in_its_tensor(column: int, name: str, position: tuple[int, ...]) -> None:
    assert LAYOUT.locate(column) == (name, position)


@pytest.mark.parametrize(
    ("tensors", "layer", "rule"),
    [
        ((), "(no layer)", "at least one tensor"),
        ((TensorSpec("a", (1,)), TensorSpec("a", (2,))), "a", "appears twice"),
        ((TensorSpec("a", (2, 0)),), "a", "shape (2, 0) holds nothing"),
        ((TensorSpec("a", (-1,)),), "a", "shape (-1,) holds nothing"),
        ((TensorSpec("__metadata__", (1,)),), "__metadata__", "not a tensor name"),
        ((TensorSpec("../a", (1,)),), "../a", "not a tensor name"),
        ((TensorSpec("", (1,)),), "", "not a tensor name"),
        ((TensorSpec("a" * 201, (1,)),), "a" * 201, "not a tensor name"),
    ],
)
def test_a_layout_that_no_model_has_is_refused(
    tensors: tuple[TensorSpec, ...], layer: str, rule: str
) -> None:
    with pytest.raises(LayoutMismatch) as caught:
        Layout(tensors)

    assert caught.value.layer == layer
    assert rule in caught.value.rule


@given(layout=layouts)
def test_a_layout_comes_back_from_its_header_and_from_a_file(layout: Layout) -> None:
    data = encode(layout, np.zeros(layout.size, np.float32))

    assert Layout.from_header(layout.header) == layout
    assert layout_of_file(data) == layout
    assert layout_of_file(data[: layout.data_offset]) == layout


@pytest.mark.parametrize(
    "header",
    [
        LAYOUT.header.rstrip(b" "),
        LAYOUT.header + b" " * 8,
        LAYOUT.header.replace(b'"shape":[3]', b'"shape": [3]'),
        b'{"a":{"dtype":"F64","shape":[1],"data_offsets":[0,8]}}'.ljust(56),
        b"{}      ",
        b"",
    ],
)
def test_a_header_that_we_would_spell_differently_is_refused(header: bytes) -> None:
    assert header != LAYOUT.header

    with pytest.raises(HeaderInvalid):
        Layout.from_header(header)


def test_a_file_whose_header_is_cut_or_absurd_has_no_layout() -> None:
    data = encode(LAYOUT, FLAT)

    for cut in (0, 7, 8, LAYOUT.data_offset - 1):
        with pytest.raises(HeaderInvalid):
            layout_of_file(data[:cut])
    with pytest.raises(HeaderInvalid, match="17000000"):
        layout_of_file((17_000_000).to_bytes(8, "little") + bytes(17_000_000))


# --- arrays ---------------------------------------------------------------------------------------


@given(layout=layouts, data=st.data())
def test_arrays_and_the_flat_vector_are_the_same_numbers(
    layout: Layout, data: st.DataObject
) -> None:
    flat = data.draw(flat_of(layout))
    arrays = layout.to_arrays(flat)

    again = layout.flatten(dict(reversed(arrays.items())))

    assert list(arrays) == [tensor.name for tensor in layout.tensors]
    assert [array.shape for array in arrays.values()] == [t.shape for t in layout.tensors]
    assert again.tobytes() == flat.tobytes()


def test_arrays_are_views_and_the_flat_vector_is_a_copy() -> None:
    flat = FLAT.copy()
    arrays = LAYOUT.to_arrays(flat)

    again = LAYOUT.flatten(arrays)
    flat[6] = 70

    assert arrays["hidden/bias"].tolist() == [70, 7, 8]
    assert again[6] == 6


def test_a_transposed_array_is_flattened_in_its_own_order() -> None:
    arrays = LAYOUT.to_arrays(FLAT)
    arrays["hidden/kernel"] = np.array([[0, 3], [1, 4], [2, 5]], np.float32).T

    assert np.array_equal(LAYOUT.flatten(arrays), FLAT)
    assert LAYOUT.flatten(arrays).dtype == np.float32


@pytest.mark.parametrize(
    ("change", "layer", "rule"),
    [
        ({"hidden/bias": None}, "hidden/bias", "missing"),
        ({"more/bias": np.zeros(1, "f4")}, "more/bias", "not a layer of the model"),
        ({"hidden/bias": np.zeros(4, "f4")}, "hidden/bias", "shape (4,), expected (3,)"),
        ({"hidden/kernel": np.zeros((3, 2), "f4")}, "hidden/kernel", "shape (3, 2), expected"),
        ({"hidden/bias": np.zeros(3)}, "hidden/bias", "dtype float64, expected float32"),
        ({"alpha/scale": np.zeros(1, "f4")}, "alpha/scale", "shape (1,), expected ()"),
    ],
)
def test_arrays_that_are_not_the_models_are_refused(
    change: dict[str, Float32Array | None], layer: str, rule: str
) -> None:
    arrays = LAYOUT.to_arrays(FLAT) | change

    with pytest.raises(LayoutMismatch) as caught:
        LAYOUT.flatten({name: array for name, array in arrays.items() if array is not None})

    assert caught.value.layer == layer
    assert rule in caught.value.rule


@pytest.mark.parametrize(
    "flat", [np.zeros(9, "f4"), np.zeros(11, "f4"), np.zeros(10), np.zeros((10, 1), "f4")]
)
def test_a_vector_of_another_size_or_type_is_refused(flat: Float32Array) -> None:
    with pytest.raises(LayoutMismatch, match=r"expected float32 \(10,\)"):
        encode(LAYOUT, flat)
    with pytest.raises(LayoutMismatch, match=r"expected float32 \(10,\)"):
        LAYOUT.to_arrays(flat)


# --- files ----------------------------------------------------------------------------------------


@given(layout=layouts, data=st.data())
def test_the_safetensors_library_reads_what_we_write(layout: Layout, data: st.DataObject) -> None:
    flat = data.draw(flat_of(layout))

    loaded = load(encode(layout, flat))

    assert {t.name: t.shape for t in layout.tensors} == {n: a.shape for n, a in loaded.items()}
    assert layout.flatten(loaded).tobytes() == flat.tobytes()


@given(layout=layouts, data=st.data())
def test_we_read_what_the_safetensors_library_writes(layout: Layout, data: st.DataObject) -> None:
    arrays = layout.to_arrays(data.draw(flat_of(layout)))
    file = save(arrays)

    theirs = layout_of_file(file)

    assert sorted(arrays) == sorted(tensor.name for tensor in theirs.tensors)
    for name, array in theirs.to_arrays(decode(file, theirs)).items():
        assert array.tobytes() == arrays[name].tobytes()


def test_a_file_comes_back_as_a_view_of_its_bytes() -> None:
    data = bytearray(encode(LAYOUT, FLAT))
    view = decode(memoryview(data).toreadonly(), LAYOUT)

    data[-4:] = np.float32(99).tobytes()

    assert view.tolist() == [*range(9), 99]
    assert not view.flags.writeable


def test_a_strided_vector_is_written_as_it_reads() -> None:
    assert encode(LAYOUT, np.arange(20, dtype=np.float32)[::2]) == encode(LAYOUT, FLAT * 2)


def test_a_file_of_another_layout_or_length_is_refused() -> None:
    data = encode(LAYOUT, FLAT)

    with pytest.raises(HeaderInvalid):
        decode(data.replace(b"hidden", b"hiddem"), LAYOUT)
    for wrong in (data[:-4], data[:-1], data + bytes(4)):
        with pytest.raises(LayoutMismatch, match=f"{len(wrong)} bytes, expected {len(data)}"):
            decode(wrong, LAYOUT)


def test_digests_of_bytes_and_of_a_file_agree(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"abc" * 1_000_000)

    assert sha256_file(path) == digest(path.read_bytes())
    assert digest(b"abc").startswith("ba7816bf8f01cfea")


# --- finite values --------------------------------------------------------------------------------


@given(
    size=st.integers(0, 200_000),
    columns=st.lists(st.integers(0, 199_999), max_size=3),
    bad=st.sampled_from([np.nan, np.inf, -np.inf]),
)
def test_the_first_value_that_is_not_finite_is_found(
    size: int, columns: list[int], bad: float
) -> None:
    flat = np.full(size, np.float32(3e38))  # sums overflow, values do not
    inside = [column for column in columns if column < size]
    flat[inside] = bad

    assert first_not_finite(flat) == min(inside, default=None)


@pytest.mark.parametrize("column", [0, 65_535, 65_536, 131_071, 131_072, 199_999])
def test_the_edges_of_the_blocks_are_looked_at(column: int) -> None:
    flat = np.zeros(200_000, np.float32)
    flat[column] = np.nan

    assert first_not_finite(flat) == column


# --- updates --------------------------------------------------------------------------------------

FORM = form_of(LAYOUT, FLOAT32)
GOOD = encode(LAYOUT, FLAT)
OTHER = Layout((*LAYOUT.tensors[:2], TensorSpec("alpha/scale", (1,))))


def refusal(data: bytes, *, size: int | None = None, sha256: str | None = None) -> UpdateInvalid:
    with pytest.raises(UpdateInvalid) as caught:
        validate_update(
            data,
            form=FORM,
            size=len(data) if size is None else size,
            sha256=digest(data) if sha256 is None else sha256,
        )
    return caught.value


def test_a_right_update_passes_from_memory_and_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "update"
    path.write_bytes(GOOD)

    validate_update(GOOD, form=FORM, size=len(GOOD), sha256=digest(GOOD))
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        validate_update(mapped, form=FORM, size=len(GOOD), sha256=digest(GOOD))


def test_a_mapped_file_can_be_closed_after_a_refusal(tmp_path: Path) -> None:
    path = tmp_path / "update"
    path.write_bytes(encode(LAYOUT, np.full(10, np.nan, np.float32)))

    with path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        with pytest.raises(UpdateInvalid, match="not-finite"):
            validate_update(mapped, form=FORM, size=len(mapped), sha256=sha256_file(path))

    mapped.close()  # raises BufferError while somebody still looks into it


@pytest.mark.parametrize("value", [-0.0, 1e-45, 3.4e38])
def test_zero_subnormal_and_large_values_are_finite(value: float) -> None:
    data = encode(LAYOUT, np.full(10, value, np.float32))

    validate_update(data, form=FORM, size=len(data), sha256=digest(data))


@pytest.mark.parametrize("size", [len(GOOD) - 1, len(GOOD) + 1])
def test_a_size_that_was_not_declared_is_refused(size: int) -> None:
    error = refusal(GOOD, size=size)

    assert error.code == "wrong-size"
    assert error.rule == f"{len(GOOD)} bytes, {size} declared"


def test_a_digest_that_was_not_declared_is_refused() -> None:
    error = refusal(GOOD, sha256="0" * 64)

    assert error.code == "wrong-digest"
    assert digest(GOOD) in error.rule


@pytest.mark.parametrize("extra", [b"\0", b"\0" * 4])
def test_bytes_after_the_last_tensor_are_refused(extra: bytes) -> None:
    error = refusal(GOOD + extra)

    assert error.code == "wrong-size"
    assert (
        error.rule
        == f"{len(GOOD) + len(extra)} bytes, an update of the model in float32 has {len(GOOD)}"
    )


def test_a_cut_file_is_refused() -> None:
    assert refusal(GOOD[:-4]).code == "wrong-size"


@pytest.mark.parametrize(
    ("tensors", "rule"),
    [
        (LAYOUT.tensors[:2], "alpha/scale: missing"),
        ((*LAYOUT.tensors, TensorSpec("z/z", (1,))), "z/z: not a layer of the model"),
        (OTHER.tensors, "alpha/scale: shape (1,), expected ()"),
        (LAYOUT.tensors[::-1], "alpha/scale: stands where hidden/kernel is expected"),
    ],
)
def test_a_wrong_header_names_the_layer_and_the_rule(
    tensors: tuple[TensorSpec, ...], rule: str
) -> None:
    layout = Layout(tensors)

    error = refusal(encode(layout, np.zeros(layout.size, np.float32)))

    assert (error.code, error.rule) == ("wrong-header", rule)


@pytest.mark.parametrize(
    ("dtype", "name"), [("f8", "F64"), ("f2", "F16"), ("i4", "I32"), ("i8", "I64"), ("?", "BOOL")]
)
def test_a_wrong_dtype_is_named(dtype: str, name: str) -> None:
    arrays = {n: a.astype(dtype) for n, a in LAYOUT.to_arrays(FLAT).items()}

    error = refusal(save(arrays))

    assert (error.code, error.rule) == (
        "wrong-header",
        f"hidden/kernel: dtype {name}, expected float32",
    )


def test_the_right_tensors_in_the_librarys_order_are_refused() -> None:
    """The library sorts by name; columns would change places without anybody seeing it."""
    error = refusal(save(LAYOUT.to_arrays(FLAT)))

    assert error.rule == "alpha/scale: stands where hidden/kernel is expected"


def test_the_right_header_spelled_with_spaces_is_refused() -> None:
    header = LAYOUT.header.replace(b",", b", ")
    data = len(header).to_bytes(8, "little") + header + GOOD[LAYOUT.data_offset :]

    assert refusal(data).rule == ("the same tensors, but not the assignment's header byte for byte")


def test_a_header_that_breaks_the_format_is_refused_with_its_rule() -> None:
    error = refusal(GOOD.replace(b'"data_offsets":[24,36]', b'"data_offsets":[25,37]'))

    assert error.code == "wrong-header"
    assert error.rule == "hidden/bias: starts at 25 and leaves a gap, not at 24"


@pytest.mark.parametrize(
    ("column", "value", "where"),
    [
        (5, np.nan, "hidden/kernel at [1, 2] is nan"),
        (6, np.inf, "hidden/bias at [0] is inf"),
        (9, -np.inf, "alpha/scale at [] is -inf"),
    ],
)
def test_a_value_that_is_not_finite_is_refused_with_layer_and_position(
    column: int, value: float, where: str
) -> None:
    flat = FLAT.copy()
    flat[column] = value

    error = refusal(encode(LAYOUT, flat))

    assert (error.code, error.rule) == ("not-finite", f"{where}, not a finite number")


@pytest.mark.parametrize(
    ("start", "kind"),
    [
        (b"PK\x03\x04", "a zip archive"),
        (b"\x80\x04\x95", "a pickle"),
        (b"\x80\x02}q", "a pickle"),
        (b"\x89HDF\r\n\x1a\n", "HDF5"),
        (b"\x93NUMPY", "a NumPy .npy file"),
        (b"\x1f\x8b\x08", "gzip"),
    ],
)
def test_other_formats_are_refused_by_their_first_bytes(start: bytes, kind: str) -> None:
    error = refusal(start + bytes(100))

    assert error.code == "wrong-header"
    assert f"this is {kind}" in error.rule


@given(data=st.data())
def test_no_single_changed_byte_of_header_or_length_passes(data: st.DataObject) -> None:
    at = data.draw(st.integers(0, LAYOUT.data_offset - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda value: value != GOOD[at]))

    error = refusal(GOOD[:at] + bytes([byte]) + GOOD[at + 1 :])

    assert error.code == "wrong-header"
    assert error.rule


@given(junk=st.binary(max_size=300))
def test_whatever_arrives_is_refused_with_a_code(junk: bytes) -> None:
    assert refusal(junk).code in {"wrong-header", "wrong-size"}


@given(layout=layouts, data=st.data())
def test_exactly_the_finite_files_of_the_layout_pass(layout: Layout, data: st.DataObject) -> None:
    flat = data.draw(flat_of(layout))
    file = encode(layout, flat)

    try:
        validate_update(file, form=form_of(layout, FLOAT32), size=len(file), sha256=digest(file))
    except UpdateInvalid as error:
        code = error.code
    else:
        code = ""

    assert code == ("" if np.isfinite(flat).all() else "not-finite")
