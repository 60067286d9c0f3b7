"""The holdout set as a file: one safetensors document with the arrays ``x`` and ``y``.

The operator's SDK writes it and the evaluator reads it. The guard takes only files that
`encode_holdout` could have written, byte for byte in the header, so there is nothing for a parser
to be led astray by, and nothing is unpickled.

Source: the safetensors format (github.com/huggingface/safetensors, "Format"): 8 bytes of length,
JSON, data.
"""

import math
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from rondo_core.errors import HeaderInvalid, Invalid

__all__ = ["MAX_HEADER_BYTES", "decode_holdout", "encode_holdout"]

MAX_HEADER_BYTES = 4096
"""The header of two arrays has about 150 bytes; shapes cannot make it much longer."""
MAX_RANK = 8
LENGTH_BYTES = 8

Array = NDArray[np.generic]
_Type = Literal["F32", "I32", "I64", "U8"]
_TYPES: dict[_Type, np.dtype[np.generic]] = {
    "F32": np.dtype("<f4"),
    "I32": np.dtype("<i4"),
    "I64": np.dtype("<i8"),
    "U8": np.dtype("u1"),
}
_NAMES = {kind: name for name, kind in _TYPES.items()}


class _Tensor(msgspec.Struct, frozen=True):
    dtype: _Type
    shape: tuple[int, ...]
    data_offsets: tuple[int, int]


class _Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    x: _Tensor
    y: _Tensor


def encode_holdout(x: ArrayLike, y: ArrayLike) -> bytes:
    """Return the file: the same arrays always give the same bytes, so its SHA-256 names it.

    Args:
        x: examples, any shape (n, ...); float32, int32, int64 or uint8; float64 becomes float32.
        y: targets, (n,) or (n, k), same types; class indices or numbers.

    Raises:
        Invalid: no example, different numbers of examples, another type, NaN or infinity; the text
            names which.

    Example:
        >>> x, y = decode_holdout(encode_holdout([[1.0, 2.0]], [7]))
        >>> x.tolist(), y.tolist()
        ([[1.0, 2.0]], [7])
    """
    arrays = _checked("x", _storable("x", x)), _checked("y", _storable("y", y))
    _same_length(*arrays)
    return _prefix(*arrays) + b"".join(array.tobytes() for array in arrays)


def decode_holdout(data: bytes) -> tuple[Array, Array]:
    """Read a file that `encode_holdout` wrote.

    Args:
        data: the whole file, from anywhere.

    Returns:
        ``x`` and ``y``: read-only views of ``data`` (nothing is copied), of the types stored.

    Raises:
        HeaderInvalid: the header is too long or not the one that such arrays have, or the data is
            cut or too long.
        Invalid: no example, different numbers of examples, NaN or infinity.
    """
    start = LENGTH_BYTES + int.from_bytes(data[:LENGTH_BYTES], "little")
    if start > min(LENGTH_BYTES + MAX_HEADER_BYTES, len(data)):
        raise HeaderInvalid(
            f"the header ends at {start}: over {MAX_HEADER_BYTES} or the {len(data)} bytes here"
        )
    try:
        header = msgspec.json.decode(data[LENGTH_BYTES:start], type=_Header)
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        raise HeaderInvalid(f"not the header of a holdout: {exc}") from exc
    x, y = _view(data, start, header.x), _view(data, start, header.y)
    if _prefix(x, y) != data[:start] or len(data) != start + x.nbytes + y.nbytes:
        raise HeaderInvalid("the header is not the one that a holdout with these arrays has")
    _same_length(_checked("x", x), _checked("y", y))
    return x, y


def _view(data: bytes, start: int, tensor: _Tensor) -> Array:
    """Bound every number before it is used: shapes and offsets are a stranger's."""
    kind, (begin, end) = _TYPES[tensor.dtype], tensor.data_offsets
    if len(tensor.shape) > MAX_RANK or min(tensor.shape, default=0) < 0:
        raise HeaderInvalid(f"shape {tensor.shape} is not one of up to {MAX_RANK} sides >= 0")
    size = math.prod(tensor.shape) * kind.itemsize
    if begin < 0 or end - begin != size or start + end > len(data):
        raise HeaderInvalid(
            f"offsets {begin}-{end} do not hold {size} bytes inside the file's {len(data)}"
        )
    return np.frombuffer(data, kind, math.prod(tensor.shape), start + begin).reshape(tensor.shape)


def _prefix(x: Array, y: Array) -> bytes:
    """Return length and JSON of the header, padded with spaces as safetensors pads it."""
    header = _Header(
        x=_Tensor(_NAMES[x.dtype], x.shape, (0, x.nbytes)),
        y=_Tensor(_NAMES[y.dtype], y.shape, (x.nbytes, x.nbytes + y.nbytes)),
    )
    text = msgspec.json.encode(header)
    text += b" " * (-len(text) % LENGTH_BYTES)
    return len(text).to_bytes(LENGTH_BYTES, "little") + text


def _storable(name: str, values: ArrayLike) -> Array:
    array = np.asarray(values)
    wanted = np.dtype("<f4") if array.dtype == np.float64 else array.dtype.newbyteorder("<")
    if wanted not in _NAMES:
        raise Invalid(f"{name} is {array.dtype}, but must be one of float32, int32, int64, uint8")
    return array.astype(wanted, order="C")


def _checked(name: str, array: Array) -> Array:
    if array.ndim == 0 or array.size == 0:
        raise Invalid(f"{name} has shape {array.shape}: there must be at least one example")
    if np.issubdtype(array.dtype, np.floating) and not np.isfinite(array).all():
        raise Invalid(f"{name} holds NaN or infinity")
    return array


def _same_length(x: Array, y: Array) -> None:
    if len(x) != len(y):
        raise Invalid(f"x has {len(x)} examples and y has {len(y)}: they must be the same")
