"""The JSON body of a prediction: TF Serving's row format and column format.

Source: TensorFlow Serving RESTful API, "Predict API" (tensorflow.org/tfx/serving/api_rest).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec
from msgspec import UNSET, Struct, UnsetType

from rondo_core.errors import Invalid
from rondo_core.input_schema import ImageInput
from rondo_core.layout import Float32Array
from rondo_core.model_inputs import Row, decode_rows
from rondo_core.model_spec import ModelSpec

__all__ = ["SIGNATURE", "Instances", "decode_predict_body"]

SIGNATURE = "serving_default"
"""The one signature that a model has, by TensorFlow's name for it."""

_BARE_NUMBERS = (b"NaN", b"Infinity")


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
    signature_name: str = SIGNATURE
    instances: list[object] | UnsetType = UNSET
    inputs: object | UnsetType = UNSET


_BODY = msgspec.json.Decoder(_Body | list[object])


def decode_predict_body(body: bytes, spec: ModelSpec) -> Instances:
    """Read ``{"instances": …}``, ``{"inputs": …}``, or a bare list of instances.

    Args:
        body: JSON; NaN and Infinity are understood so that the refusal can name their row.
        spec: says what an instance holds: values by column name or in order, or a picture.

    Raises:
        Invalid: not JSON, not one of these forms, or no instance at all.
        RowInvalid: names the row, its column, the value found and the rule.
    """
    found = _parse(body)
    if isinstance(found, list):
        found = _Body(instances=found)
    if found.signature_name not in {"", SIGNATURE}:
        raise Invalid(
            f'signature "{found.signature_name}" is not in the model, which has "{SIGNATURE}"'
        )
    if (found.instances is UNSET) == (found.inputs is UNSET):
        raise Invalid('the body must have either "instances" or "inputs", and not both')
    by_column = found.instances is UNSET
    rows = _rows(spec, found.inputs) if isinstance(found.instances, UnsetType) else found.instances
    if not rows:
        raise Invalid(f'"{"inputs" if by_column else "instances"}" is empty')
    return Instances(decode_rows(spec, rows), by_column=by_column)  # type: ignore[arg-type]  # any object: each row is checked there


def _parse(body: bytes) -> _Body | list[object]:
    """Parse strictly and fast; only bare NaN or Infinity needs the tolerant parser."""
    try:
        try:
            found: _Body | list[object] = _BODY.decode(body)
        except msgspec.DecodeError:
            if not any(word in body for word in _BARE_NUMBERS):
                raise
            found = msgspec.convert(json.loads(body), _Body | list[object])
    except RecursionError as exc:
        raise Invalid("the body is nested too deeply") from exc
    except ValueError as exc:  # msgspec's errors, the tolerant parser's, and bytes that are no text
        raise Invalid(f"the body is not the JSON of a prediction: {exc}") from exc
    return found


def _rows(spec: ModelSpec, inputs: object) -> Sequence[Row]:
    """Turn columns into rows; a tensor that is not named is rows already."""
    if isinstance(inputs, Mapping) and isinstance(spec.input, ImageInput):
        if spec.input.tensor_name not in inputs:
            raise Invalid(f'"inputs" lacks "{spec.input.tensor_name}"')
        inputs = inputs[spec.input.tensor_name]
    if isinstance(inputs, Mapping):
        return _transposed(spec.input.names, inputs)
    if not isinstance(inputs, list):
        raise Invalid(
            f'"inputs" is neither a tensor nor an object of tensors: {type(inputs).__name__}'
        )
    return inputs


def _transposed(names: Sequence[str], columns: Mapping[str, object]) -> list[Row]:
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
    return list(zip(*cells, strict=True))
