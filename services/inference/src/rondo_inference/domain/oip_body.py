"""The JSON of an inference request; its tensors are not yet read.

Source: kserve/open-inference-protocol, inference_rest.md.
"""

from contextlib import suppress
from typing import Any

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from rondo_core.errors import Invalid
from rondo_inference.domain.json_pieces import (
    LARGE_BYTES,
    SKIMMED_BYTES,
    decode_value,
    members,
    pieces,
)
from rondo_inference.domain.tensor_json import decode_json, encode_json

__all__ = ["InferBody", "InputBody", "OutputBody", "Parameter", "large_body", "parse_body"]

Parameter = str | int | float | bool


class OutputBody(Struct, frozen=True):
    """A wanted output."""

    name: str
    parameters: dict[str, Parameter] = {}


class InputBody(Struct, frozen=True):
    """An input; ``data`` is empty where its bytes come after the JSON."""

    name: str
    shape: list[int]
    datatype: str
    parameters: dict[str, Parameter] = {}
    data: Raw = Raw()


class InferBody(Struct, frozen=True):
    """The message."""

    inputs: list[InputBody]
    id: str | UnsetType = UNSET
    parameters: dict[str, Parameter] = {}
    outputs: list[OutputBody] = []


_BODY = msgspec.json.Decoder(InferBody)


def parse_body(text: bytes) -> InferBody:
    """Read a message that one call may read; what a tensor holds is left as it is.

    Raises:
        Invalid: names the place and the rule.
    """
    try:
        try:
            found: InferBody = _BODY.decode(text)
        except msgspec.ValidationError:
            raise
        except msgspec.DecodeError:
            found = msgspec.convert(_raws(decode_json(text)), InferBody)
    except RecursionError as exc:
        raise Invalid("the body is nested too deeply") from exc
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        raise Invalid(f"the body is not an inference request: {exc}") from exc
    return found


def _raws(message: Any) -> Any:  # noqa: ANN401  (it is what a stranger sent)
    """Give numbers that JSON does not know a form that the strict parser takes."""
    inputs = message.get("inputs") if isinstance(message, dict) else None
    for one in inputs if isinstance(inputs, list) else ():
        if isinstance(one, dict) and "data" in one:
            one["data"] = Raw(encode_json(one["data"]))
    return message


_MOST_INPUTS = 10_000
"""A table's columns may be inputs, and so many columns has no table."""
_BODY_LEVELS = 3
"""An object, in it a list, in that the inputs."""


def large_body(text: bytes, levels: int) -> InferBody:
    """Do what `parse_body` does with a text of any length.

    Args:
        text: JSON.
        levels: how deep lists may be inside each other in a tensor.

    Raises:
        Invalid: see `parse_body`; also where a tensor is nested deeper.
    """
    if len(text) <= SKIMMED_BYTES:
        with suppress(ValueError, RecursionError):  # perhaps a bare NaN; else it is told below
            found_whole: InferBody = _BODY.decode(text)
            return found_whole
    levels += _BODY_LEVELS
    text = text.strip()
    if text[:1] != b"{":
        raise Invalid("the body is not an inference request: it is no object")
    known = InferBody.__struct_fields__
    found = {key: value for key, value in members(text, levels) if key in known}
    inputs = found.pop("inputs", b"[]").strip()
    parsed: list[InputBody] = []
    for piece in pieces(inputs, levels - 1):
        parsed += _inputs(piece, levels - 2)
        if len(parsed) > _MOST_INPUTS:
            raise Invalid(f"the request has over {_MOST_INPUTS} inputs")
    rest = {key: decode_value(value, levels - 1) for key, value in found.items()}
    try:
        return msgspec.convert({**rest, "inputs": parsed}, InferBody)
    except msgspec.ValidationError as exc:
        raise Invalid(f"the body is not an inference request: {exc}") from exc


def _inputs(piece: bytes, levels: int) -> list[InputBody]:
    if len(piece) <= LARGE_BYTES:
        return parse_body(b'{"inputs":[' + piece + b"]}").inputs
    found = dict(members(piece.strip(), levels))
    data = found.pop("data", b"")
    rest = {key: decode_value(value, levels - 1) for key, value in found.items()}
    try:
        return [msgspec.convert({**rest, "data": Raw(data)}, InputBody)]
    except msgspec.ValidationError as exc:
        raise Invalid(f"the body is not an inference request: {exc}") from exc
