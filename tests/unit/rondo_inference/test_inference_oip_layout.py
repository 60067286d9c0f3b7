"""Binary requests whose JSON came before: kept by its bytes, and read alike."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rondo_core.errors import Invalid
from rondo_inference.domain.oip import Infer, decode_infer
from rondo_inference.domain.oip_layout import KEPT_BYTES, layout_of
from rondo_inference.domain.tensors import DTYPES, Signature, TensorInfo

SIGNATURE = Signature(
    (TensorInfo("a", "FP32", (-1, -1)), TensorInfo("b", "INT8", (-1,))),
    (TensorInfo("y", "FP32", (-1,)), TensorInfo("z", "INT8", (-1,))),
)
NUMBERS = sorted(DTYPES.keys() - {"BYTES", "BOOL"})
FLAGS = st.sampled_from([None, True, False, 1])


def message(*tensors: dict[str, Any], **more: object) -> dict[str, object]:
    return {"inputs": tensors, **more}


def tensor(name: str, kind: str, shape: list[int], size: object) -> dict[str, Any]:
    return {
        "name": name,
        "datatype": kind,
        "shape": shape,
        "parameters": {"binary_data_size": size},
    }


def read(text: bytes, blobs: bytes) -> Infer | str:
    try:
        return decode_infer(text + blobs, len(text), SIGNATURE)
    except Invalid as exc:
        return str(exc)


def same(one: Infer | str, other: Infer | str) -> bool:
    if isinstance(one, str) or isinstance(other, str):
        return one == other
    left, right = one.inputs, other.inputs
    assert list(one.outputs) == list(other.outputs)
    assert list(left) == list(right)
    for name, array in left.items():
        assert (array.dtype, array.shape) == (right[name].dtype, right[name].shape)
        assert array.tobytes() == right[name].tobytes()
    return one.id == other.id


@st.composite
def inputs(draw: st.DrawFn) -> tuple[dict[str, Any], bytes]:
    kind = draw(st.sampled_from([*NUMBERS, "BOOL", "BF16", "FP8"]))
    shape = draw(st.lists(st.integers(-1, 3), max_size=3))
    width = DTYPES[kind].itemsize if kind in DTYPES else 2
    size = int(np.prod(shape)) * width + draw(st.sampled_from([0, 0, 0, 1, -1]))
    data = draw(st.binary(min_size=max(size, 0), max_size=max(size, 0)))
    said: object = draw(st.sampled_from([size, size, size, str(size), True]))
    return tensor(draw(st.sampled_from("abc")), kind, shape, said), data


@given(
    sent=st.lists(inputs(), max_size=3),
    wanted=st.lists(st.tuples(st.sampled_from("yzx"), FLAGS), max_size=3),
    binary=FLAGS,
    named=st.sampled_from([None, "7"]),
    extra=st.sampled_from([b"", b"", b"x"]),
)
def test_what_is_kept_says_the_same_as_what_is_read(
    sent: list[tuple[dict[str, Any], bytes]],
    wanted: list[tuple[str, bool | None]],
    binary: object,
    named: str | None,
    extra: bytes,
) -> None:
    body: dict[str, object] = message(*(one for one, _ in sent))
    if named is not None:
        body["id"] = named
    if binary is not None:
        body["parameters"] = {"binary_data_output": binary}
    if wanted:
        body["outputs"] = [
            {"name": name} if flag is None else {"name": name, "parameters": {"binary_data": flag}}
            for name, flag in wanted
        ]
    text, blobs = json.dumps(body).encode(), b"".join(data for _, data in sent) + extra
    too_long_to_keep = text + b" " * KEPT_BYTES

    expected = read(too_long_to_keep, blobs)

    assert same(read(text, blobs), expected)
    assert same(read(text, blobs), expected)


def test_json_that_came_before_is_not_read_again() -> None:
    text = json.dumps(message(tensor("a", "FP32", [1, 2], 8), id="of this test")).encode()
    before = layout_of.cache_info().hits

    first = read(text, np.array([1, 2], np.float32).tobytes())
    second = read(text, np.array([3, 4], np.float32).tobytes())

    assert layout_of.cache_info().hits == before + 1
    assert isinstance(first, Infer)
    assert isinstance(second, Infer)
    assert (first.inputs["a"].tolist(), second.inputs["a"].tolist()) == ([[1, 2]], [[3, 4]])


@pytest.mark.parametrize("size", [4, 12])
def test_a_body_of_another_length_is_refused_though_its_json_is_known(size: int) -> None:
    text = json.dumps(message(tensor("a", "FP32", [1, 2], 8))).encode()
    assert isinstance(read(text, bytes(8)), Infer)

    assert isinstance(read(text, bytes(size)), str)
