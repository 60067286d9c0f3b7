"""What a model takes and gives, as JSON Schema."""

from typing import Any

import numpy as np
from msgspec import UNSET

from rondo_core.input_schema import ImageInput, NumberColumn, TableInput
from rondo_core.output_schema import Classes
from rondo_inference.domain.tensors import TensorInfo
from rondo_inference.registry.served import ServedModel

__all__ = [
    "ANY_NUMBER",
    "Schema",
    "example_schema",
    "instance_schema",
    "labelled_schema",
    "prediction_schema",
    "tensor_schema",
]

Schema = dict[str, Any]

_NUMBER = {"type": "number"}
_FINITE: Schema = {
    "type": ["number", "null"],
    "description": "null: the model's answer is not a number (NaN or Infinity)",
}
_LARGEST = float(np.finfo(np.float32).max)
_CELL = {"type": "number", "minimum": -_LARGEST, "maximum": _LARGEST}
_BYTES: Schema = {
    "type": "object",
    "required": ["b64"],
    "properties": {"b64": {"type": "string", "contentEncoding": "base64"}},
    "additionalProperties": False,
}
ANY_NUMBER: Schema = {
    "type": ["number", "null"],
    "description": "null stands for NaN, Infinity and -Infinity, which are written bare",
}


def instance_schema(served: ServedModel) -> Schema:
    """Return the schema of one instance of TF Serving's row format."""
    spec = served.spec
    if spec is None:
        return _row_of(served.signature.inputs, sent=True)
    if isinstance(spec.input, TableInput):
        cells = _cells(spec.input)
        count = len(cells)
        ordered = {"type": "array", "prefixItems": cells, "minItems": count, "maxItems": count}
        return {"anyOf": [_named_row(spec.input), ordered]}
    return _nested(_picture_value(spec.input), spec.input.shape)


def example_schema(served: ServedModel) -> Schema:
    """Return the schema of one example of TF Serving's classify and regress: features by name.

    A version of which only the tensors are known takes none.
    """
    spec = served.spec
    if spec is None:
        return {"type": "object"}
    if isinstance(spec.input, TableInput):
        return _named_row(spec.input)
    picture = _nested(_picture_value(spec.input), spec.input.shape)
    return _object({spec.input.tensor_name: picture}) | {"additionalProperties": False}


def _named_row(table: TableInput) -> Schema:
    columns = dict(zip(table.names, _cells(table), strict=True))
    return _object(columns) | {"additionalProperties": False}


def _cells(table: TableInput) -> list[Schema]:
    return [
        _number(column) if isinstance(column, NumberColumn) else {"enum": list(column.values)}
        for column in table.columns
    ]


def _number(column: NumberColumn) -> Schema:
    """Bounds beyond which there are answers are none of the schema."""
    limits = {"minimum": column.minimum, "maximum": column.maximum}
    given = {word: limit for word, limit in limits.items() if limit is not UNSET}
    return {**_CELL, **given} if column.beyond == "refuse" else _CELL


def _picture_value(image: ImageInput) -> Schema:
    return {"type": "number", "minimum": image.minimum, "maximum": image.maximum}


def prediction_schema(served: ServedModel) -> Schema:
    """Return the schema of one prediction."""
    spec = served.spec
    if spec is None:
        return _row_of(served.signature.outputs, sent=False)
    outputs = len(spec.outputs)
    found: Schema = {
        "type": "array",
        "items": ANY_NUMBER,
        "minItems": outputs,
        "maxItems": outputs,
    }
    if isinstance(spec.output, Classes):
        found["description"] = f"probabilities of {', '.join(spec.output.labels[:20])}"
    return found


def labelled_schema(served: ServedModel) -> Schema:
    """Return the schema of one prediction that needs no table of labels to be read."""
    spec = served.spec
    if spec is None:
        return prediction_schema(served)
    if not isinstance(spec.output, Classes):
        return _object({spec.output.name: _FINITE})
    shares = _object(dict.fromkeys(spec.output.labels, _FINITE))
    return _object({"label": {"enum": [*spec.output.labels, None]}, "probabilities": shares})


def tensor_schema(info: TensorInfo, *, sent: bool) -> Schema:
    """Return the schema of a tensor in the Open Inference Protocol's JSON.

    Args:
        info: of an input or an output.
        sent: whether callers write it, and not the server.
    """
    value = _value(info, sent=sent)
    shape = {
        "type": "array",
        "items": {"type": "integer", "minimum": 0},
        "minItems": len(info.shape),
        "maxItems": len(info.shape),
    }
    flat_or_nested = {"type": "array", "items": {"anyOf": [value, {"type": "array"}]}}
    return _object(
        {
            "name": {"const": info.name},
            "datatype": {"const": info.datatype},
            "shape": shape,
            "data": flat_or_nested,
        }
    )


def _object(properties: Schema) -> Schema:
    return {"type": "object", "required": list(properties), "properties": properties}


def _row_of(infos: tuple[TensorInfo, ...], *, sent: bool) -> Schema:
    rows = {info.name: _nested(_value(info, sent=sent), info.shape[1:]) for info in infos}
    if len(rows) == 1:
        return next(iter(rows.values()))
    return _object(rows) | {"additionalProperties": False}


def _value(info: TensorInfo, *, sent: bool) -> Schema:
    if info.datatype == "BOOL":
        return {"type": "boolean"}
    if info.datatype == "BYTES":
        return {"anyOf": [{"type": "string"}, _BYTES]}
    if info.datatype.startswith(("INT", "UINT")):
        limits = np.iinfo(info.dtype)
        return {"type": "integer", "minimum": int(limits.min), "maximum": int(limits.max)}
    return _NUMBER if sent else ANY_NUMBER


def _nested(value: Schema, shape: tuple[int, ...]) -> Schema:
    for side in reversed(shape):
        value = {"type": "array", "items": value}
        if side >= 0:
            value |= {"minItems": side, "maxItems": side}
    return value
