"""Rows in a JSON text that is too large to be read by one call: see `json_pieces`."""

import math
from collections.abc import Iterator
from typing import Any

from rondo_core.errors import Invalid
from rondo_core.input_schema import ImageInput
from rondo_core.model_spec import ModelSpec
from rondo_inference.domain.json_pieces import (
    LARGE_BYTES,
    SKIMMED_BYTES,
    decode_value,
    members,
    pieces,
)
from rondo_inference.domain.large_tensors import large_tensor
from rondo_inference.domain.row_faults import Block, RowFault
from rondo_inference.domain.tensor_json import decode_json
from rondo_inference.domain.tensor_text import decode_tensor

__all__ = ["large_row", "large_rows", "levels_of", "tensor_shapes"]


def tensor_shapes(spec: ModelSpec) -> list[tuple[int, ...]]:
    """Return the shapes of a row that is nothing but numbers, as ``decode_rows`` takes them."""
    if isinstance(spec.input, ImageInput):
        shape = spec.input.shape
        one_channel = [shape[:2]] if spec.input.channels == 1 else []
        return [shape, *one_channel, (math.prod(shape),)]
    return [] if spec.input.has_words else [spec.input.shape]


def levels_of(spec: ModelSpec) -> int:
    """Return how deep lists and objects may be inside each other in a list of rows."""
    return 1 + len(spec.input.shape) + isinstance(spec.input, ImageInput)


def large_rows(text: bytes, spec: ModelSpec) -> Iterator[Block]:
    """Read a list of rows, a piece of it at a time.

    Raises:
        Invalid: no list, not JSON, or nested too deeply; not before that piece is asked for.
    """
    text, shapes = text.strip(), tensor_shapes(spec)
    if text[:1] != b"[":
        raise Invalid(f"{text[:20]!r} begins no list of instances")
    whole = decode_tensor(text, shapes) if len(text) <= SKIMMED_BYTES else None
    if whole is not None:
        yield whole.reshape(-1, *spec.input.shape)
        return
    for piece in pieces(text, levels_of(spec)):
        tensor = decode_tensor(b"[" + piece + b"]", shapes)
        if tensor is not None:
            yield tensor.reshape(-1, *spec.input.shape)
        elif len(piece) > LARGE_BYTES:
            yield [large_row(piece, spec)]
        else:  # bare words become text, which no number column takes
            yield decode_json(b"[" + piece + b"]", constants=str)


def large_row(text: bytes, spec: ModelSpec) -> Any:  # noqa: ANN401  (it is what a stranger sent)
    """Read one row that is large alone, as ``decode_rows`` takes it, or say why it is none."""
    levels = levels_of(spec) - 1
    if not isinstance(spec.input, ImageInput):
        return decode_value(text, levels)
    name, text = spec.input.tensor_name, text.strip()
    if text[:1] == b"{":
        found = dict(members(text, levels))
        if name not in found:
            return RowFault(0, name, "is missing")
        text = found[name].strip()
    tensor = decode_tensor(b"[" + text + b"]", tensor_shapes(spec))
    return large_tensor(name, "FP64", text, levels) if tensor is None else tensor[0]
