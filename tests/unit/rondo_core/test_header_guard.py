import itertools
import json
import time
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors import SafetensorError
from safetensors.numpy import load

from rondo_core.errors import HeaderInvalid
from rondo_core.safetensors_header import HeaderEntry, encode_header, read_header

LIMIT = 100_000


def entry(dtype: str = "F32", shape: object = (1,), offsets: object = (0, 4)) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


def file_of(header: object, data_bytes: int = 4) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + bytes(data_bytes)


def refusal(data: bytes, limit: int = LIMIT) -> str:
    with pytest.raises(HeaderInvalid) as caught:
        read_header(data, limit=limit)
    return str(caught.value)


def test_a_header_is_read_in_the_order_of_its_data() -> None:
    data = file_of({"b": entry("I64", [2], [4, 20]), "a/c": entry("F32", [], [0, 4])}, 20)

    assert read_header(data, limit=LIMIT) == (
        HeaderEntry("a/c", "F32", (), 0, 4),
        HeaderEntry("b", "I64", (2,), 4, 20),
    )


def test_the_start_of_a_file_is_enough_where_its_size_is_known() -> None:
    data = file_of({"a": entry("F32", [1000], [0, 4000])}, 4000)

    assert read_header(data[:-3990], limit=LIMIT, size_bytes=len(data))[0].stop == 4000


def test_an_empty_tensor_is_read_as_the_library_reads_it() -> None:
    data = file_of({"a": entry("F32", [0], [0, 0]), "b": entry()})

    assert [tensor.name for tensor in read_header(data, limit=LIMIT)] == ["a", "b"]
    assert load(data)["a"].size == 0


@pytest.mark.parametrize(
    ("header", "rule"),
    [
        (
            (
                b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},'
                b'"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
            ),
            "'a' appears twice",
        ),
        (
            b'{"a":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
            "'dtype' appears twice",
        ),
        (
            (
                b'{"\\u0061":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},'
                b'"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
            ),
            "'a' appears twice",
        ),
        ({"a": entry("F33")}, "a: dtype 'F33' is unknown"),
        ({"a": entry("f32")}, "a: dtype 'f32' is unknown"),
        ({"a": entry("F32", [1], [0, 8])}, "a: offsets 0-8 do not fit F32 [1]"),
        ({"a": entry("F32", [2], [0, 4])}, "a: offsets 0-4 do not fit F32 [2]"),
        ({"a": entry("F64", [1], [0, 4])}, "a: offsets 0-4 do not fit F64 [1]"),
        ({"a": entry("F32", [1], [4, 0])}, "a: offsets 4-0 do not fit"),
        ({"a": entry("F32", [1], [4, 8])}, "a: starts at 4 and leaves a gap, not at 0"),
        ({"a": entry(), "b": entry()}, "b: starts at 0 and overlaps the one before, not at 4"),
        ({"a": entry("F32", [-1], [0, 4])}, "a: not exactly dtype, shape and data_offsets"),
        ({"a": entry("F32", [1.0], [0, 4])}, "a: not exactly"),
        ({"a": entry("F32", [True], [0, 4])}, "a: not exactly"),
        ({"a": entry("F32", [1], [False, 4])}, "a: not exactly"),
        ({"a": entry("F32", [2**63], [0, 4])}, "a: not exactly"),
        ({"a": entry("F32", [2**62, 4], [0, 4])}, "a: offsets 0-4 do not fit"),
        ({"a": entry("F32", [1], [0, 4, 8])}, "a: not exactly"),
        ({"a": entry("F32", "1", [0, 4])}, "a: not exactly"),
        ({"a": {**entry(), "more": 1}}, "a: not exactly"),
        ({"a": {"dtype": "F32", "shape": [1]}}, "a: not exactly"),
        ({"a": [1]}, "a: not exactly"),
        ({"a": entry("F32", [1] * 9, [0, 4])}, "a: 9 dimensions are over 8"),
        ({"__metadata__": {"a": "b"}, "a": entry()}, "'__metadata__' is not a tensor name"),
        ({"../a": entry()}, "'../a' is not a tensor name"),
        ({"a//b": entry()}, "'a//b' is not a tensor name"),
        ({"a b": entry()}, "'a b' is not a tensor name"),
        ({"a\n": entry()}, r"'a\n' is not a tensor name"),
        ({"ä": entry()}, "'ä' is not a tensor name"),
        ({"a" * 201: entry()}, "is not a tensor name"),
        ({}, "the header names no tensor"),
        (b"[]", "does not start with '{'"),
        (b' {"a":1}', "does not start with '{'"),
        (b"", "does not start with '{'"),
        (b"{" * 50_000, "not JSON"),
        (b'{"a":' + b"[" * 90_000, "not JSON"),
        (b'{"a":' + b"9" * 5_000 + b"}", "not JSON"),
        (b'{"a":"\xff"}', "not JSON"),
    ],
    ids=itertools.count(),
)
def test_a_header_that_breaks_a_rule_is_refused(header: object, rule: str) -> None:
    assert rule in refusal(file_of(header))


def test_a_long_name_or_dtype_is_cut_in_the_error() -> None:
    assert len(refusal(file_of({"a" * 50_000: entry()}))) < 300
    assert len(refusal(file_of({"a": entry("F" * 50_000)}))) < 300


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        (b"", "0 bytes are too few"),
        (b"1234567", "7 bytes are too few"),
        ((100).to_bytes(8, "little") + b"{}", "a header of 100 bytes does not fit into 10 bytes"),
        ((2**63).to_bytes(8, "little"), "9223372036854775808 bytes is over the limit of 100000"),
        (file_of({"a": entry()}, 3), "tensors cover 4 bytes, but 3 bytes follow"),
        (file_of({"a": entry()}, 5), "tensors cover 4 bytes, but 5 bytes follow"),
    ],
    ids=itertools.count(),
)
def test_a_file_of_the_wrong_length_is_refused(data: bytes, rule: str) -> None:
    assert rule in refusal(data)


def test_the_limit_is_the_longest_header_that_is_read() -> None:
    data = file_of({"a": entry()})
    length = int.from_bytes(data[:8], "little")

    assert read_header(data, limit=length)
    assert f"{length} bytes is over the limit of {length - 1}" in refusal(data, length - 1)


def test_a_start_that_is_shorter_than_its_header_is_refused() -> None:
    data = file_of({"a": entry()})

    with pytest.raises(HeaderInvalid, match="does not fit"):
        read_header(data[:20], limit=LIMIT, size_bytes=len(data))


def test_a_header_of_a_million_tensors_is_refused_unread() -> None:
    """The library needs 10 s and 1.35 GB for it (`docs/` has the measurement)."""
    one = b'"t%07d":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}'
    data = file_of(b"{" + b",".join(one % number for number in range(1_000_000)) + b"}", 0)

    tracemalloc.start()
    started = time.perf_counter()
    message = refusal(data, limit=70_000)
    seconds = time.perf_counter() - started
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert "is over the limit of 70000" in message
    assert seconds < 0.01
    assert peak_bytes < 100_000


def test_a_header_as_long_as_the_limit_costs_little() -> None:
    one = b'"t%04d":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}'
    data = file_of(b"{" + b",".join(one % number for number in range(1_000)) + b"}", 0)

    started = time.perf_counter()
    assert len(read_header(data, limit=70_000)) == 1_000

    assert time.perf_counter() - started < 0.5


# --- the library as the judge ---------------------------------------------------------------------

NAMES = st.text('ab_/.é"\\\n', min_size=1, max_size=4)
SIZES = st.integers(-1, 5) | st.booleans() | st.floats(0, 4) | st.just(2**64)
ENTRIES = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["F32", "F16", "I64", "BOOL", "F4", ""]),
        "shape": st.lists(SIZES, max_size=3),
        "data_offsets": st.lists(st.integers(0, 40).map(lambda n: n // 4 * 4), max_size=3),
    }
)


@given(header=st.dictionaries(NAMES, ENTRIES, max_size=3), data_bytes=st.integers(0, 12))
def test_what_the_guard_takes_the_library_takes_too(
    header: dict[str, object], data_bytes: int
) -> None:
    data = file_of(header, data_bytes)
    try:
        tensors = read_header(data, limit=LIMIT)
    except HeaderInvalid:
        return

    loaded = load(data)

    assert {tensor.name: tensor.shape for tensor in tensors} == {
        name: array.shape for name, array in loaded.items()
    }


SHAPES = st.lists(st.integers(0, 3), max_size=3).map(tuple)


@given(
    tensors=st.lists(
        st.tuples(st.text("ab1", min_size=1, max_size=3), SHAPES),
        min_size=1,
        max_size=4,
        unique_by=lambda tensor: tensor[0],
    )
)
def test_what_we_write_we_read(tensors: list[tuple[str, tuple[int, ...]]]) -> None:
    header = encode_header(tensors)
    last = max(json.loads(header).values(), key=lambda found: found["data_offsets"][1])

    found = read_header(file_of(header, last["data_offsets"][1]), limit=LIMIT)

    assert {tensor.name: tensor.shape for tensor in found} == dict(tensors)


@given(data=st.binary(max_size=200))
def test_junk_is_refused_and_nothing_else_is_raised(data: bytes) -> None:
    assert refusal(data)
    with pytest.raises(SafetensorError):
        load(data)
