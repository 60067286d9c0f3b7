"""The JSON body of a prediction: TF Serving's row format and column format.

Source: TensorFlow Serving RESTful API, "Predict API" (tensorflow.org/tfx/serving/api_rest).
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import msgspec
from msgspec import Raw, Struct

from rondo_core.errors import Invalid
from rondo_core.input_schema import ImageInput
from rondo_core.layout import Float32Array
from rondo_core.model_spec import ModelSpec
from rondo_inference.domain.json_pieces import LARGE_BYTES, SKIMMED_BYTES, decode_value, members
from rondo_inference.domain.large_rows import large_rows, levels_of, tensor_shapes
from rondo_inference.domain.row_faults import Block, decode_blocks, decode_every_row, in_blocks
from rondo_inference.domain.tensor_text import decode_tensor

__all__ = ["SIGNATURE", "Instances", "decode_predict_body"]

SIGNATURE = "serving_default"
"""The one signature that a model has, by TensorFlow's name for it."""

_BARE_WORDS = (b"NaN", b"Infinity")


_OTHER_PROTOCOL = (
    "this is a request of the Open Inference Protocol: send it to /v2/models/NAME/infer, or with "
    "content-type application/vnd.sagemaker-triton.binary+json;json-header-size=LENGTH"
)


@dataclass(frozen=True, slots=True)
class Instances:
    """What is to be predicted.

    Attributes:
        inputs: as the exported model takes them, float32 (n, *input shape), n >= 1.
        by_column: the request was in column format, so the answer is too.
    """

    inputs: Float32Array
    by_column: bool = False


class _Body(Struct, frozen=True):
    """Parts that are not there are empty."""

    signature_name: str = SIGNATURE
    instances: Raw = Raw()
    inputs: Raw = Raw()


_BODY = msgspec.json.Decoder(_Body)
_BARE_LIST = msgspec.json.Decoder(Raw)
_ANYTHING = msgspec.json.Decoder()


def decode_predict_body(body: bytes, spec: ModelSpec) -> Instances:
    """Read ``{"instances": …}``, ``{"inputs": …}``, or a bare list of instances.

    Args:
        body: JSON; bare NaN and Infinity are understood so that the refusal can name their row.
        spec: says what an instance holds: values by column name or in order, or a picture.

    Raises:
        Invalid: empty, not JSON, not one of these forms, or no instance at all.
        RowInvalid: names the row, its column, the value found and the rule.
    """
    if not body or body.isspace():
        raise Invalid('the body is empty; send JSON with "instances" or "inputs"')
    try:
        if len(body) > LARGE_BYTES:
            return _large_instances(_large_parts(body, spec), spec)
        return _instances(_parts(body), spec)
    except RecursionError as exc:
        raise Invalid("the body is nested too deeply") from exc
    except ValueError as exc:  # msgspec's errors, the tolerant parser's, and bytes that are no text
        raise Invalid(f"the body is not the JSON of a prediction: {exc}") from exc


def _parts(body: bytes) -> _Body:
    """Parse strictly and fast; bare words become text, which no number column takes."""
    try:
        return _strict_parts(body)
    except msgspec.DecodeError:
        if not any(word in body for word in _BARE_WORDS):
            raise
    return _strict_parts(msgspec.json.encode(json.loads(body, parse_constant=str)))


def _strict_parts(body: bytes) -> _Body:
    if body.lstrip()[:1] == b"[":
        return _Body(instances=_BARE_LIST.decode(body))
    found: _Body = _BODY.decode(body)
    return found


def _instances(parts: _Body, spec: ModelSpec) -> Instances:
    text, by_column = _chosen(parts)
    tensor = decode_tensor(text, tensor_shapes(spec))
    if tensor is not None:
        inputs = tensor.reshape(-1, *spec.input.shape)
        return Instances(decode_every_row(spec, inputs), by_column=by_column)
    rows = _ANYTHING.decode(text)
    if by_column:
        rows = _rows(spec, rows)
    if not isinstance(rows, list) or not rows:
        raise _no_list(by_column=by_column, empty=rows == [])
    return Instances(decode_every_row(spec, rows), by_column=by_column)


def _chosen(parts: _Body) -> tuple[bytes, bool]:
    """Return the JSON of what is to be predicted, and whether it is by column."""
    if parts.signature_name not in {"", SIGNATURE}:
        raise Invalid(
            f"signature {parts.signature_name!r} is not in the model, which has {SIGNATURE!r}"
        )
    by_column = bool(parts.inputs)
    if bool(parts.instances) == by_column:
        raise Invalid('the body must have either "instances" or "inputs", and not both')
    return bytes(parts.inputs if by_column else parts.instances), by_column


def _no_list(*, by_column: bool, empty: bool) -> Invalid:
    found = "empty" if empty else "not a list of instances"
    return Invalid(f'"{"inputs" if by_column else "instances"}" is {found}')


def _large_parts(body: bytes, spec: ModelSpec) -> _Body:
    if len(body) <= SKIMMED_BYTES:
        with suppress(msgspec.DecodeError):  # perhaps a bare NaN
            return _strict_parts(body)
    text = body.strip()
    if text[:1] == b"[":
        return _Body(instances=Raw(text))
    levels = 1 + levels_of(spec)
    found = {key: value for key, value in members(text, levels) if key in _Body.__struct_fields__}
    name = decode_value(found.pop("signature_name", b'""'), levels)
    raw = {key: Raw(value) for key, value in found.items()}
    return msgspec.convert({"signature_name": name, **raw}, _Body)


def _large_instances(parts: _Body, spec: ModelSpec) -> Instances:
    text, by_column = _chosen(parts)
    blocks = _large_columns(text, spec) if by_column else large_rows(text, spec)
    inputs = decode_blocks(spec, blocks)
    if not len(inputs):
        raise _no_list(by_column=by_column, empty=True)
    return Instances(inputs, by_column=by_column)


def _large_columns(text: bytes, spec: ModelSpec) -> Iterable[Block]:
    text = text.strip()
    if text[:1] != b"{":
        return large_rows(text, spec)
    columns = dict(members(text, levels_of(spec)))
    if isinstance(spec.input, ImageInput):
        if spec.input.tensor_name not in columns:
            raise Invalid(f'"inputs" has no {spec.input.tensor_name!r}')
        return large_rows(columns[spec.input.tensor_name], spec)
    cells = {name: decode_value(column, 1) for name, column in columns.items()}
    return _rows_of_columns(spec, spec.input.names, cells)


def _rows_of_columns(
    spec: ModelSpec, names: Sequence[str], cells: Mapping[str, object]
) -> Iterator[Block]:
    try:
        yield from in_blocks(spec, _transposed(names, cells))
    finally:  # millions of numbers that go at once let no other thread run either
        for column in cells.values():
            if isinstance(column, list):
                column.clear()


def _rows(spec: ModelSpec, inputs: object) -> object:
    """Turn columns into rows; a tensor that is not named is rows already."""
    match inputs:
        case [{"name": _, "datatype": _, "shape": _}, *_]:
            raise Invalid(_OTHER_PROTOCOL)
    if not isinstance(inputs, Mapping):
        return inputs
    if not isinstance(spec.input, ImageInput):
        return list(_transposed(spec.input.names, inputs))
    if spec.input.tensor_name not in inputs:
        raise Invalid(f'"inputs" has no {spec.input.tensor_name!r}')
    return inputs[spec.input.tensor_name]


def _transposed(
    names: Sequence[str], columns: Mapping[str, object]
) -> Iterator[tuple[object, ...]]:
    cells: list[list[object]] = []
    for name in names:
        column = columns.get(name)
        if not isinstance(column, list):
            raise Invalid(f'"inputs" has no list for column {name!r}')
        if cells and len(column) != len(cells[0]):
            raise Invalid(
                f"column {name!r} has {len(column)} values, {names[0]!r} has {len(cells[0])}"
            )
        cells.append(column)
    return zip(*cells, strict=True)
