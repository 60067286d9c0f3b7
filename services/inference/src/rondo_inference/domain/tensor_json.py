"""Tensors in JSON, both ways: lists of numbers, of truths, of text; bytes as ``{"b64": …}``.

Source: TensorFlow Serving RESTful API, "Encoding binary values" and "JSON conformance"; Open
Inference Protocol, "Tensor Data".
"""

import base64
import binascii
import json
import math
from array import array
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any

import msgspec
import numpy as np

from rondo_core.errors import Invalid
from rondo_inference.domain.tensors import BYTES, DTYPES, Tensor

__all__ = ["bytes_of_b64", "decode_json", "encode_json", "tensor_from_json", "tensor_to_json"]

_BARE_WORDS = (b"NaN", b"Infinity")
_ANYTHING = msgspec.json.Decoder()
_SHOWN = 60
_B64_UNIT = 4
_B64_PART = _B64_UNIT * 64 * 1024
_FITTING_KINDS = {"b": "b", "i": "iu", "u": "iu", "f": "iuf"}


def decode_json(  # it is what a stranger sent
    body: bytes, *, constants: Callable[[str], object] = float
) -> Any:  # noqa: ANN401
    """Read JSON in which NaN, Infinity and -Infinity may stand for numbers.

    Args:
        body: not longer than one call may read.
        constants: makes a value of such a word.

    Raises:
        Invalid: not JSON, or nested too deeply.
    """
    try:
        try:
            return _ANYTHING.decode(body)
        except msgspec.DecodeError:
            if not any(word in body for word in _BARE_WORDS):
                raise
        return json.loads(body, parse_constant=constants)
    except RecursionError as exc:
        raise Invalid("the body is nested too deeply") from exc
    except ValueError as exc:
        raise Invalid(f"the body is not JSON: {exc}") from exc


def encode_json(value: object) -> bytes:
    """Return JSON; numbers that are not finite appear bare, as TF Serving writes them."""
    text = msgspec.json.encode(value)
    if b"null" not in text:  # msgspec writes NaN so
        return text
    return json.dumps(value, separators=(",", ":")).encode()


def tensor_from_json(name: str, datatype: str, value: object) -> Tensor:
    """Return the tensor that a JSON value is.

    Args:
        name: for the error.
        datatype: one of ``DTYPES``.
        value: nested lists, or one value.

    Raises:
        Invalid: ragged, or a value that the datatype cannot hold; the text names it.

    Example:
        >>> tensor_from_json("x", "INT8", [[1], [2]]).tolist()
        [[1], [2]]
    """
    if datatype == BYTES:
        return _bytes_tensor(name, value)
    dtype = DTYPES[datatype]
    plain = _numbers(value) if dtype.kind == "f" else None
    found = _discovered(name, dtype, value) if plain is None else plain
    if found.size == 0:
        return found.astype(dtype) if found.dtype.kind in "fiub" else _refuse(name, datatype, value)
    if found.dtype.kind not in _FITTING_KINDS[dtype.kind]:
        if dtype.kind == "b" and found.dtype.kind in "iu" and np.isin(found, (0, 1)).all():
            return found.astype(dtype)
        return _refuse(name, datatype, value)
    with np.errstate(over="ignore"):
        result = found.astype(dtype)
    if dtype.kind in "iu" and not (result == found).all():
        worst = found.ravel()[int((result != found).argmax())]
        raise Invalid(f"input {name!r}: {worst} does not fit into {datatype}")
    return result


def _discovered(name: str, dtype: "np.dtype[Any]", value: object) -> Tensor:
    """Let NumPy say what it is."""
    try:
        found = np.array(value)
        if dtype.kind == "u" and found.dtype.kind == "f" and _is_whole(value):
            found = np.array(value, np.uint64)  # NumPy makes floats of numbers over 2**63
    except (ValueError, OverflowError) as exc:
        raise Invalid(f"input {name!r} is ragged, or too large: {exc}") from exc
    return found


def _numbers(value: object) -> Tensor | None:
    """Return plain numbers as FP64, in half the time of NumPy, which looks at each of them twice.

    None: it is something else than numbers in lists of one length, and NumPy says what.
    """
    shape: list[int] = []
    level: list[Any] = [value]
    try:
        while isinstance(level[0], list):
            sides = set(map(len, level))
            if sides == {0} or len(sides) > 1:
                return None
            shape += sides
            level = list(chain.from_iterable(level))
        if type(level[0]) not in {int, float}:  # an array takes truths for numbers
            return None
        return np.frombuffer(array("d", level)).reshape(shape)
    except (TypeError, ValueError, OverflowError):
        return None


def _is_whole(value: object) -> bool:
    if isinstance(value, list):
        return all(map(_is_whole, value))
    return type(value) is int


def _refuse(name: str, datatype: str, value: object) -> Tensor:
    text = repr(value)
    shown = text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
    raise Invalid(f"input {name!r}: {shown} is not a tensor of {datatype}")


def _bytes_tensor(name: str, value: object) -> Tensor:
    shape: list[int] = []
    flat: list[object] = [value]
    while flat and all(isinstance(part, list) for part in flat):
        sides = {len(part) for part in flat if isinstance(part, list)}
        if len(sides) != 1:
            raise Invalid(f"input {name!r} is ragged: lists of {sorted(sides)} values")
        shape.append(sides.pop())
        flat = [one for part in flat if isinstance(part, list) for one in part]
    result = np.empty(len(flat), object)
    result[:] = [_bytes_of(name, one) for one in flat]
    return result.reshape(shape)


def _bytes_of(name: str, value: object) -> bytes:
    match value:
        case str():
            return value.encode(errors="surrogatepass")
        case {"b64": str() as text, **rest} if not rest:
            return bytes_of_b64(name, text)
        case _:
            _refuse(name, BYTES, value)
    raise AssertionError


def bytes_of_b64(name: str, text: str) -> bytes:
    """Return what base64 says; of a long text a part at a time, between which other threads run.

    Raises:
        Invalid: it is not base64.
    """
    parts = (text[at : at + _B64_PART] for at in range(0, len(text), _B64_PART))
    try:
        if len(text) % _B64_UNIT:
            raise Invalid(f"input {name!r}: not base64: {len(text)} characters are no whole groups")
        decoded = [base64.b64decode(part, validate=True) for part in parts]
    except (binascii.Error, ValueError) as exc:
        raise Invalid(f"input {name!r}: not base64: {exc}") from exc
    if any(len(part) * _B64_UNIT != _B64_PART * 3 for part in decoded[:-1]):
        raise Invalid(f"input {name!r}: not base64: padding before its end")
    return b"".join(decoded)


def tensor_to_json(name: str, tensor: Tensor) -> Any:  # noqa: ANN401  (nested lists have no type)
    """Return nested lists; an output named ``*_bytes``, and what is no text, as ``{"b64": …}``.

    Example:
        >>> tensor_to_json("x_bytes", np.array([b"ab"], object))
        [{'b64': 'YWI='}]
    """
    if tensor.dtype != object:
        return tensor.tolist()
    as_bytes = name.endswith("_bytes")
    flat = [_text_of(element, as_bytes=as_bytes) for element in tensor.ravel()]
    return _nested(flat, tensor.shape)


def _text_of(element: bytes, *, as_bytes: bool) -> str | Mapping[str, str]:
    if not as_bytes:
        try:
            return element.decode()
        except UnicodeDecodeError:
            pass
    return {"b64": base64.b64encode(element).decode()}


def _nested(flat: Sequence[object], shape: tuple[int, ...]) -> object:
    if not shape:
        return flat[0]
    if len(shape) == 1:
        return list(flat)
    size = math.prod(shape[1:])
    return [_nested(flat[at * size : (at + 1) * size], shape[1:]) for at in range(shape[0])]
