"""Tensors in a JSON text that is too large to be read by one call: see `json_pieces`."""

from collections.abc import Sequence

import numpy as np

from rondo_core.errors import Invalid
from rondo_inference.domain.json_pieces import LARGE_BYTES, decode_value, members, pieces
from rondo_inference.domain.tensor_json import decode_json, tensor_from_json
from rondo_inference.domain.tensors import Tensor

__all__ = ["joined", "large_tensor"]


def large_tensor(name: str, datatype: str, text: bytes, levels: int) -> Tensor:
    """Do what `tensor_from_json` does with the JSON of a value of any length.

    Args:
        name: for the error.
        datatype: one of ``DTYPES``.
        text: of the value.
        levels: how deep lists and objects may be inside each other in it.

    Raises:
        Invalid: see `tensor_from_json`; also where it is nested deeper.
    """
    text = text.strip()
    if len(text) > LARGE_BYTES and text[:1] == b"{":
        return tensor_from_json(name, datatype, _encoded(name, text, levels))
    if len(text) <= LARGE_BYTES or text[:1] != b"[":
        return tensor_from_json(name, datatype, decode_value(text, levels))
    parts: list[Tensor] = []
    for piece in pieces(text, levels):
        if len(piece) > LARGE_BYTES:
            parts.append(large_tensor(name, datatype, piece, levels - 1)[None])
        else:
            parts.append(tensor_from_json(name, datatype, decode_json(b"[" + piece + b"]")))
    return joined(name, parts)


def _encoded(name: str, text: bytes, levels: int) -> dict[str, object]:
    """Read ``{"b64": …}`` and nothing else: lists in an object would be read for nothing."""
    found = {key: value.strip() for key, value in members(text, levels)}
    if set(found) != {"b64"} or found["b64"][:1] != b'"':
        raise Invalid(f'input {name!r}: an object is not a tensor, unless it is {{"b64": text}}')
    return {"b64": decode_json(found["b64"])}


def joined(name: str, parts: Sequence[Tensor]) -> Tensor:
    """Return one tensor of those that are its rows.

    Raises:
        Invalid: their rows have different shapes.
    """
    shapes = list({part.shape[1:]: None for part in parts})
    if len(shapes) > 1:
        one, other = map(list, shapes[:2])
        raise Invalid(f"input {name!r} is ragged: it holds values of shape {one} and {other}")
    return np.concatenate(parts)
