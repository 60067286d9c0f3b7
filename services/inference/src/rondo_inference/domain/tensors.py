"""Tensors as every contract sees them: names, datatypes, shapes, and the bytes of each.

The datatypes are those of the Open Inference Protocol. In memory a tensor is a NumPy array; BYTES
is an object array of ``bytes``.

Source: Open Inference Protocol, "Tensor Data Types" (kserve/open-inference-protocol,
inference_rest.md), and Triton's binary tensor extension for the bytes.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rondo_core.errors import Invalid

__all__ = [
    "BYTES",
    "DTYPES",
    "Signature",
    "Tensor",
    "TensorInfo",
    "Tensors",
    "check_shape",
    "check_tensor",
    "datatype_of",
    "decode_raw",
    "encode_raw",
    "rows_of",
    "shape_fits",
]

Tensor = NDArray[Any]
Tensors = tuple[Tensor, ...]
"""One tensor for each input, or each output, of a signature, in its order."""

BYTES = "BYTES"
BF16 = "BF16"
MAX_AXES = 32
"""NumPy of all supported releases makes arrays of so many axes."""
_MOST_EMPTY = 65_536
"""A tensor without elements has at most so many rows, which cost its sender no bytes."""
_LENGTH_BYTES = 4

DTYPES: Mapping[str, np.dtype[Any]] = MappingProxyType(
    {
        "BOOL": np.dtype(np.bool_),
        "UINT8": np.dtype("u1"),
        "UINT16": np.dtype("<u2"),
        "UINT32": np.dtype("<u4"),
        "UINT64": np.dtype("<u8"),
        "INT8": np.dtype("i1"),
        "INT16": np.dtype("<i2"),
        "INT32": np.dtype("<i4"),
        "INT64": np.dtype("<i8"),
        "FP16": np.dtype("<f2"),
        "FP32": np.dtype("<f4"),
        "FP64": np.dtype("<f8"),
        BYTES: np.dtype(object),
    }
)
_DATATYPES = {dtype: name for name, dtype in DTYPES.items()}


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """An input or an output: -1 stands for a side that each request chooses."""

    name: str
    datatype: str
    shape: tuple[int, ...]

    @property
    def dtype(self) -> np.dtype[Any]:
        """The array's dtype; ``object`` for BYTES."""
        return DTYPES[self.datatype]

    @property
    def by_row(self) -> bool:
        """Whether the first side is the number of rows."""
        return self.shape[:1] == (-1,)


@dataclass(frozen=True)
class Signature:
    """What goes in and what comes out; at least one of each, names are distinct."""

    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]

    @cached_property
    def by_row(self) -> bool:
        """Whether rows may be added to others': every first side is the number of rows."""
        return all(info.by_row for info in (*self.inputs, *self.outputs))

    def input_at(self, name: str) -> int:
        """Return the place of an input.

        Raises:
            Invalid: there is none of that name; the text names those that there are.
        """
        return _place("input", self.inputs, name)

    def output_at(self, name: str) -> int:
        """Return the place of an output; see `input_at`."""
        return _place("output", self.outputs, name)


def _place(kind: str, infos: Sequence[TensorInfo], name: str) -> int:
    for place, info in enumerate(infos):
        if info.name == name:
            return place
    known = ", ".join(repr(info.name) for info in infos)
    raise Invalid(f"the model has no {kind} {name!r}; it has {known}")


def datatype_of(dtype: np.dtype[Any]) -> str:
    """Return the name of a dtype.

    Raises:
        Invalid: the protocol has no name for it.

    Example:
        >>> datatype_of(np.dtype(np.float32))
        'FP32'
    """
    found = _DATATYPES.get(dtype) or _DATATYPES.get(dtype.newbyteorder("<"))
    if found is None:
        raise Invalid(f"{dtype} is none of {', '.join(DTYPES)}")
    return found


def rows_of(inputs: Tensors) -> int:
    """Return the number of rows; 1 where the first input has no axis."""
    return inputs[0].shape[0] if inputs[0].ndim else 1


def check_tensor(info: TensorInfo, tensor: Tensor) -> Tensor:
    """Return a tensor that the model takes: its dtype is that of ``info``, its shape fits.

    Raises:
        Invalid: names the input, what was found and what is wanted.
    """
    if tensor.dtype != info.dtype:
        raise Invalid(
            f"input {info.name!r} is {datatype_of(tensor.dtype)}, the model takes {info.datatype}"
        )
    if not shape_fits(info.shape, tensor.shape):
        raise Invalid(
            f"input {info.name!r} has shape {list(tensor.shape)}, "
            f"the model takes {list(info.shape)}"
        )
    return tensor


def shape_fits(wanted: tuple[int, ...], found: tuple[int, ...]) -> bool:
    """Whether a tensor's shape is one that an input of shape ``wanted`` takes."""
    if wanted[1:] == found[1:] and len(wanted) == len(found) and wanted[:1] == (-1,):
        return True  # the common case: only the number of rows is free
    return len(wanted) == len(found) and all(
        side in {-1, one} for side, one in zip(wanted, found, strict=True)
    )


def check_shape(name: str, shape: Sequence[int]) -> int:
    """Return how many elements a stranger's shape has.

    Raises:
        Invalid: too many axes, a side that is negative, or large sides beside one of 0.
    """
    if len(shape) > MAX_AXES or min(shape, default=0) < 0:
        raise Invalid(f"{name}: shape {list(shape)[:MAX_AXES]} is not up to {MAX_AXES} sides >= 0")
    count = math.prod(shape)
    if not count and math.prod(filter(None, shape)) > _MOST_EMPTY:
        raise Invalid(
            f"{name}: shape {list(shape)} holds nothing; its other sides make up to {_MOST_EMPTY}"
        )
    return count


def decode_raw(name: str, datatype: str, shape: Sequence[int], data: bytes | memoryview) -> Tensor:
    """Read a tensor: little-endian, row-major, without padding. BF16 becomes FP32, exactly.

    Args:
        name: of the input, for the error.
        datatype: one of `DTYPES`, or BF16.
        shape: as the request says.
        data: as long as datatype and shape say; viewed, not copied, where nothing is converted.

    Raises:
        Invalid: unknown datatype, impossible shape, or another length.

    Example:
        >>> decode_raw("x", "INT16", [2], bytes([1, 0, 2, 0])).tolist()
        [1, 2]
    """
    count = check_shape(f"input {name!r}", shape)
    if datatype == BYTES:
        elements = list(_elements(name, memoryview(data), count))  # before there is room for them
        found = np.empty(count, object)
        found[:] = elements
        return found.reshape(tuple(shape))
    dtype = np.dtype("<u2") if datatype == BF16 else DTYPES.get(datatype)
    if dtype is None:
        raise Invalid(f"input {name!r}: datatype {datatype!r} is none of {', '.join(DTYPES)}")
    if len(data) != count * dtype.itemsize:
        raise Invalid(
            f"input {name!r}: {len(data)} bytes, {datatype} {list(shape)} "
            f"has {count * dtype.itemsize}"
        )
    array = np.frombuffer(data, dtype).reshape(tuple(shape))
    if datatype == BF16:
        return (array.astype("<u4") << np.uint32(16)).view("<f4")
    if datatype == "BOOL" and (array.view("u1") > 1).any():
        raise Invalid(f"input {name!r}: a BOOL is a byte 0 or 1")
    return array


def _elements(name: str, data: memoryview, count: int) -> Iterator[bytes]:
    if count * _LENGTH_BYTES > len(data):
        raise Invalid(f"input {name!r}: {len(data)} bytes do not hold {count} elements")
    at = 0
    for _ in range(count):
        start = at + _LENGTH_BYTES
        at = start + int.from_bytes(data[start - _LENGTH_BYTES : start], "little")
        if at > len(data) or start > len(data):
            raise Invalid(f"input {name!r}: an element of BYTES ends after the data")
        yield bytes(data[start:at])
    if at != len(data):
        raise Invalid(f"input {name!r}: {len(data) - at} bytes too many for {count} elements")


def encode_raw(tensor: Tensor) -> bytes:
    r"""Return the bytes of a tensor, as `decode_raw` reads them.

    Example:
        >>> encode_raw(np.array([b"ab"], object))
        b'\x02\x00\x00\x00ab'
    """
    if tensor.dtype != object:
        return tensor.tobytes()
    return b"".join(
        len(element).to_bytes(_LENGTH_BYTES, "little") + element for element in tensor.ravel()
    )
