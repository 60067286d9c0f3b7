"""What a model takes and gives, as JSON Schema."""

from typing import Any

from rondo_core.input_schema import ImageInput, NumberColumn, TableInput
from rondo_core.output_schema import Classes
from rondo_inference.domain.tensors import TensorInfo
from rondo_inference.registry.served import ServedModel

__all__ = ["Schema", "instance_schema", "prediction_schema"]

Schema = dict[str, Any]

_NUMBER = {"type": "number"}


def instance_schema(served: ServedModel) -> Schema:
    """Return the schema of one instance of TF Serving's row format."""
    spec = served.spec
    if spec is None:
        infos = served.signature.inputs
        if len(infos) == 1:
            return _tensor(infos[0], drop=1)
        return _object({info.name: _tensor(info, drop=1) for info in infos})
    if isinstance(spec.input, TableInput):
        cells = [
            _NUMBER if isinstance(column, NumberColumn) else {"enum": list(column.values)}
            for column in spec.input.columns
        ]
        named = _object(dict(zip(spec.input.names, cells, strict=True)))
        count = len(cells)
        ordered = {"type": "array", "prefixItems": cells, "minItems": count, "maxItems": count}
        return {"anyOf": [named, ordered]}
    return _nested(_picture_value(spec.input), spec.input.shape)


def _picture_value(image: ImageInput) -> Schema:
    return {"type": "number", "minimum": image.minimum, "maximum": image.maximum}


def prediction_schema(served: ServedModel) -> Schema:
    """Return the schema of one prediction."""
    spec = served.spec
    if spec is None:
        infos = served.signature.outputs
        if len(infos) == 1:
            return _tensor(infos[0], drop=1)
        return _object({info.name: _tensor(info, drop=1) for info in infos})
    outputs = len(spec.outputs)
    found = {"type": "array", "items": _NUMBER, "minItems": outputs, "maxItems": outputs}
    if isinstance(spec.output, Classes):
        found["description"] = f"probabilities of {', '.join(spec.output.labels[:20])}"
    return found


def _object(properties: Schema) -> Schema:
    return {"type": "object", "required": list(properties), "properties": properties}


def _tensor(info: TensorInfo, *, drop: int) -> Schema:
    kinds = {"BOOL": "boolean", "BYTES": "string"}
    integer = info.datatype.startswith(("INT", "UINT"))
    value = {"type": kinds.get(info.datatype, "integer" if integer else "number")}
    return _nested(value, info.shape[drop:])


def _nested(value: Schema, shape: tuple[int, ...]) -> Schema:
    for side in reversed(shape):
        value = {"type": "array", "items": value}
        if side >= 0:
            value |= {"minItems": side, "maxItems": side}
    return value
