"""The Open Inference Protocol's messages over HTTP, JSON and binary tensors mixed.

Source: kserve/open-inference-protocol, inference_rest.md; Triton's binary tensor data extension
(extension_binary_data.md).
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
from msgspec import Struct, UnsetType

from rondo_core.errors import Invalid
from rondo_inference.domain.json_pieces import LARGE_BYTES, SKIMMED_BYTES
from rondo_inference.domain.large_tensors import large_tensor
from rondo_inference.domain.oip_body import (
    InputBody,
    OutputBody,
    Parameter,
    large_body,
    parse_body,
)
from rondo_inference.domain.oip_layout import KEPT_BYTES, flag, layout_of
from rondo_inference.domain.tensor_text import decode_flat, decode_tensor
from rondo_inference.domain.tensors import (
    BYTES,
    DTYPES,
    Signature,
    Tensor,
    TensorInfo,
    check_shape,
    decode_raw,
)

__all__ = ["Infer", "WantedOutput", "decode_infer", "raw_infer"]

_TABLE_LEVELS = 2
"""The columns of a table may be inputs, each a list, or a list of lists of one."""


class WantedOutput(Struct, frozen=True):
    """An output to be answered; ``at`` is its place in the signature."""

    at: int
    binary: bool


class Infer(Struct, frozen=True):
    """A request.

    Attributes:
        inputs: name -> tensor, as sent.
        outputs: in the order of the answer.
        id: given back; None: there is none.
    """

    inputs: Mapping[str, Tensor]
    outputs: Sequence[WantedOutput] = ()
    id: str | None = None


def decode_infer(body: bytes, header_bytes: int | None, signature: Signature) -> Infer:
    """Read a request.

    Args:
        body: JSON, and after it the binary tensors in the order of the inputs.
        header_bytes: the length of the JSON; None: all of the body.
        signature: says which outputs there are.

    Raises:
        Invalid: names the place, the value and the rule.
    """
    if header_bytes is not None and not 0 < header_bytes <= len(body):
        raise Invalid(f"the JSON has {header_bytes} bytes, the body {len(body)}")
    text = body if header_bytes is None else body[:header_bytes]
    layout = layout_of(text) if len(text) <= KEPT_BYTES and len(text) < len(body) else None
    if layout is not None and layout.size_bytes == len(body):
        wanted = _named(layout.outputs, signature, binary=layout.binary)
        return Infer(layout.tensors(body), wanted, layout.id)
    blobs = _Blobs(memoryview(body)[len(text) :])
    large = len(text) > LARGE_BYTES
    message = large_body(text, _levels(signature)) if large else parse_body(text)
    if not message.inputs:
        raise Invalid("the request has no input")
    inputs: dict[str, Tensor] = {}
    for one in message.inputs:
        if one.name in inputs:
            raise Invalid(f"input {one.name!r} is there twice")
        inputs[one.name] = _tensor(one, blobs, signature)
    blobs.end()
    binary = flag(message.parameters, "binary_data_output", default=False)
    named = None if isinstance(message.id, UnsetType) else message.id
    return Infer(inputs, _wanted(message.outputs, signature, binary=binary), named)


def _levels(signature: Signature) -> int:
    """Return how deep lists may be inside each other in a tensor."""
    return max(_TABLE_LEVELS, *(len(info.shape) for info in signature.inputs))


def raw_infer(body: bytes, signature: Signature) -> Infer:
    """Read a body that is the one input and nothing else; all outputs are binary.

    Raises:
        Invalid: there are several inputs or several variable sides, or the length does not fit.
    """
    if len(signature.inputs) != 1:
        raise Invalid("a raw body is one input, and the model has several")
    (info,) = signature.inputs
    return Infer({info.name: _raw(info, body)}, _all(len(signature.outputs), binary=True))


def _raw(info: TensorInfo, body: bytes) -> Tensor:
    if info.datatype == BYTES:
        element = np.empty(1, object)
        element[0] = body
        return element
    shape = [1, *info.shape[1:]] if info.by_row else list(info.shape)
    if shape.count(-1) > 1:
        raise Invalid(f"input {info.name!r} has several variable sides: {list(info.shape)}")
    if -1 in shape:
        fixed = check_shape(f"input {info.name!r}", [side for side in shape if side != -1])
        size = max(1, fixed) * info.dtype.itemsize
        shape[shape.index(-1)] = len(body) // size
    return decode_raw(info.name, info.datatype, shape, body)


class _Blobs:
    """The bytes after the JSON, given away piece by piece."""

    def __init__(self, data: memoryview) -> None:
        self._data = data
        self._at = 0

    def take(self, name: str, size: Parameter) -> memoryview:
        if type(size) is not int or not 0 <= size <= len(self._data) - self._at:
            raise Invalid(
                f"input {name!r}: binary_data_size is {size!r}, and "
                f"{len(self._data) - self._at} bytes are left"
            )
        self._at += size
        return self._data[self._at - size : self._at]

    def end(self) -> None:
        if self._at != len(self._data):
            raise Invalid(f"{len(self._data) - self._at} bytes belong to no input")


def _tensor(one: InputBody, blobs: _Blobs, signature: Signature) -> Tensor:
    size = one.parameters.get("binary_data_size")
    has_data = bool(bytes(one.data))
    if (size is None) != has_data:
        raise Invalid(f'input {one.name!r} must have either "data" or "binary_data_size"')
    if size is not None:
        return decode_raw(one.name, one.datatype, one.shape, blobs.take(one.name, size))
    return _json_tensor(one, signature)


def _json_tensor(one: InputBody, signature: Signature) -> Tensor:
    if one.datatype not in DTYPES:
        raise Invalid(
            f"input {one.name!r}: datatype {one.datatype!r} is none of {', '.join(DTYPES)}"
        )
    count, text = check_shape(f"input {one.name!r}", one.shape), bytes(one.data)
    found = _fast(one, text)
    if found is None:
        found = large_tensor(one.name, one.datatype, text, _levels(signature))
    if found.size != count:
        raise Invalid(f"input {one.name!r} has {found.size} values, shape {one.shape} has {count}")
    return found.reshape(one.shape)


def _fast(one: InputBody, text: bytes) -> Tensor | None:
    """Read FP32 without a Python object per row; None where that does not work."""
    if one.datatype != "FP32":
        return None
    skimmed = len(text) <= SKIMMED_BYTES and len(one.shape) > 1
    nested = decode_tensor(text, [tuple(one.shape[1:])]) if skimmed else None
    return decode_flat(text) if nested is None else nested


def _wanted(
    outputs: Sequence[OutputBody], signature: Signature, *, binary: bool
) -> Sequence[WantedOutput]:
    named = [(one.name, flag(one.parameters, "binary_data", default=binary)) for one in outputs]
    return _named(named, signature, binary=binary)


def _named(
    named: Sequence[tuple[str, bool]], signature: Signature, *, binary: bool
) -> Sequence[WantedOutput]:
    if not named:
        return _all(len(signature.outputs), binary=binary)
    return [WantedOutput(signature.output_at(name), one) for name, one in named]


@lru_cache(maxsize=64)
def _all(count: int, *, binary: bool) -> tuple[WantedOutput, ...]:
    return tuple(WantedOutput(at, binary) for at in range(count))
