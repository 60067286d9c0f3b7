"""Outputs of models without a spec: TF Serving's two formats over any number of tensors."""

from collections.abc import Mapping, Sequence
from typing import Any

from rondo_core.errors import Invalid
from rondo_inference.domain.json_pieces import LARGE_BYTES, decode_value, members, pieces
from rondo_inference.domain.large_tensors import joined, large_tensor
from rondo_inference.domain.tensor_json import (
    decode_json,
    encode_json,
    tensor_from_json,
    tensor_to_json,
)
from rondo_inference.domain.tensors import Signature, TensorInfo, Tensors

__all__ = [
    "decode_tensors_body",
    "encode_tensors",
    "large_row_tensors",
    "tensor_rows",
    "tensors_of_rows",
]


def decode_tensors_body(
    body: bytes, signature: Signature, signature_name: str
) -> tuple[Tensors, bool]:
    """Read ``{"instances": …}``, ``{"inputs": …}``, or a bare list of instances.

    Args:
        body: JSON.
        signature: what the model takes.
        signature_name: the one name that ``signature_name`` may have.

    Returns:
        The inputs in order, and whether the request was by column.

    Raises:
        Invalid: names what is wrong.
    """
    if not body or body.isspace():
        raise Invalid('the body is empty; send JSON with "instances" or "inputs"')
    if len(body) > LARGE_BYTES:
        return _large(body.strip(), signature, signature_name)
    found = decode_json(body)
    message = {"instances": found} if isinstance(found, list) else found
    if not isinstance(message, dict):
        raise Invalid("the body is neither an object nor a list")
    if _is_by_column(message, message.get("signature_name", ""), signature_name):
        return _by_column(message["inputs"], signature), True
    rows = message["instances"]
    if not isinstance(rows, list) or not rows:
        found = "empty" if rows == [] else "not a list of instances"
        raise Invalid(f'"instances" is {found}')
    return tensors_of_rows(rows, signature), False


def _is_by_column(message: Mapping[str, object], wanted: object, signature_name: str) -> bool:
    if wanted not in ("", signature_name):
        raise Invalid(f"signature {wanted!r} is not in the model, which has {signature_name!r}")
    by_column = "inputs" in message
    if by_column == ("instances" in message):
        raise Invalid('the body must have either "instances" or "inputs", and not both')
    return by_column


def _large(text: bytes, signature: Signature, signature_name: str) -> tuple[Tensors, bool]:
    levels = 1 + _row_levels(signature)
    message = {"instances": text} if text[:1] == b"[" else dict(members(text, 1 + levels))
    wanted = decode_value(message.get("signature_name", b'""'), levels)
    if _is_by_column(message, wanted, signature_name):
        return _large_columns(message["inputs"].strip(), signature, levels), True
    parts: list[Tensors] = []
    rows = message["instances"].strip()
    if rows[:1] != b"[":
        raise Invalid('"instances" is not a list of instances')
    for piece in pieces(rows, levels):
        if len(piece) > LARGE_BYTES:
            parts.append(large_row_tensors(piece, signature))
        else:
            start = sum(len(part[0]) for part in parts)
            parts.append(tensors_of_rows(decode_json(b"[" + piece + b"]"), signature, start=start))
    infos = signature.inputs
    columns = zip(infos, zip(*parts, strict=True), strict=True)
    return tuple(joined(info.name, column) for info, column in columns), False


def large_row_tensors(text: bytes, signature: Signature) -> Tensors:
    """Read one instance that is too large for one call: the inputs, of one row each.

    Raises:
        Invalid: see `tensors_of_rows`; also where it is nested too deeply.
    """
    inputs = _large_columns(text.strip(), signature, _row_levels(signature))
    return tuple(tensor[None] for tensor in inputs)


def _row_levels(signature: Signature) -> int:
    """In an instance there may be names, and bytes as base64."""
    return 1 + max(len(info.shape) for info in signature.inputs)


def _large_columns(text: bytes, signature: Signature, levels: int) -> Tensors:
    infos = signature.inputs
    named = dict(members(text, levels)) if text[:1] == b"{" else {"b64": text}
    if set(named) != {"b64"}:
        _same_names(named, infos, "what is sent")
        return tuple(
            large_tensor(info.name, info.datatype, named[info.name], levels - 1) for info in infos
        )
    if len(infos) != 1:
        raise Invalid(f"what is sent must be an object with {', '.join(i.name for i in infos)}")
    return (large_tensor(infos[0].name, infos[0].datatype, text, levels),)


def _by_column(inputs: object, signature: Signature) -> Tensors:
    infos = signature.inputs
    if isinstance(inputs, dict) and set(inputs) != {"b64"}:
        _same_names(inputs, infos, '"inputs"')
        return tuple(_tensor(info, inputs[info.name]) for info in infos)
    if len(infos) != 1:
        raise Invalid(f'"inputs" must be an object with {", ".join(i.name for i in infos)}')
    return (_tensor(infos[0], inputs),)


def tensors_of_rows(rows: Sequence[Any], signature: Signature, *, start: int = 0) -> Tensors:
    """Return the inputs of a list of instances: bare values where there is one input.

    Args:
        rows: the instances.
        signature: what the model takes.
        start: how many instances are before them, for the errors.

    Raises:
        Invalid: names the row, or the input.
    """
    infos = signature.inputs
    if len(infos) == 1:
        name = infos[0].name
        values = [
            row[name] if isinstance(row, dict) and set(row) == {name} else row for row in rows
        ]
        return (_tensor(infos[0], values),)
    for place, row in enumerate(rows, start):
        if not isinstance(row, dict):
            raise Invalid(f"row {place}: not an object with one value for each input")
        _same_names(row, infos, f"row {place}")
    return tuple(_tensor(info, [row[info.name] for row in rows]) for info in infos)


def _same_names(found: Mapping[str, object], infos: Sequence[TensorInfo], where: str) -> None:
    names = {info.name for info in infos}
    if missing := sorted(names - found.keys()):
        raise Invalid(f"{where} has no {', '.join(map(repr, missing))}")
    if extra := sorted(found.keys() - names):
        raise Invalid(f"{where} has {', '.join(map(repr, extra))}, which the model does not take")


def _tensor(info: TensorInfo, value: object) -> Any:  # noqa: ANN401  (a tensor of any type)
    return tensor_from_json(info.name, info.datatype, value)


def encode_tensors(signature: Signature, outputs: Tensors, *, by_column: bool) -> bytes:
    """Return TF Serving's answer.

    By row: bare values where there is one output, else an object per row. By column: a tensor, or
    an object of tensors.
    """
    if by_column:
        named = {
            info.name: tensor_to_json(info.name, tensor)
            for info, tensor in zip(signature.outputs, outputs, strict=True)
        }
        return encode_json({"outputs": next(iter(named.values())) if len(named) == 1 else named})
    return encode_json({"predictions": tensor_rows(signature, outputs)})


def tensor_rows(signature: Signature, outputs: Tensors) -> list[Any]:
    """Return one value per row, or one object where there are several outputs.

    Raises:
        Invalid: the outputs have different numbers of rows; then only columns can be answered.
    """
    columns = [
        tensor_to_json(info.name, tensor)
        for info, tensor in zip(signature.outputs, outputs, strict=True)
    ]
    lengths = {len(column) if isinstance(column, list) else -1 for column in columns}
    if len(lengths) != 1 or -1 in lengths:
        raise Invalid('the outputs have no common rows: ask with "inputs", by column')
    if len(columns) == 1:
        found: list[Any] = columns[0]
        return found
    names = [info.name for info in signature.outputs]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
