"""Tensors by name to what a model takes, in its order."""

from collections.abc import Mapping

from rondo_core.errors import Invalid
from rondo_core.input_schema import TableInput
from rondo_core.model_inputs import decode_rows
from rondo_core.model_spec import ModelSpec
from rondo_inference.domain.tensors import Signature, Tensor, Tensors

__all__ = ["in_order"]


def in_order(inputs: Mapping[str, Tensor], signature: Signature, spec: ModelSpec | None) -> Tensors:
    """Return the inputs in the order of the signature; a table may be sent column by column.

    Raises:
        Invalid: one is missing, or there is one too many.
        RowInvalid: a cell of a column does not fit.
    """
    if len(inputs) == 1 == len(signature.inputs) and signature.inputs[0].name in inputs:
        return tuple(inputs.values())
    if spec is not None and isinstance(spec.input, TableInput):
        (info,) = signature.inputs
        if info.name not in inputs and not inputs.keys().isdisjoint(spec.input.names):
            return (_table(inputs, spec, spec.input),)
    for name in inputs:
        signature.input_at(name)
    missing = [info.name for info in signature.inputs if info.name not in inputs]
    if missing:
        raise Invalid(f"input {', '.join(map(repr, missing))} is missing")
    return tuple(inputs[info.name] for info in signature.inputs)


def _table(inputs: Mapping[str, Tensor], spec: ModelSpec, table: TableInput) -> Tensor:
    columns: list[list[object]] = []
    for name in table.names:
        if name not in inputs:
            raise Invalid(f"input {name!r} is missing")
        cells = inputs[name].ravel()
        if columns and len(cells) != len(columns[0]):
            raise Invalid(f"input {name!r} has {len(cells)} rows, others {len(columns[0])}")
        columns.append([_cell(cell) for cell in cells.tolist()])
    for name in inputs:
        if name not in table.names:
            raise Invalid(f"the model has no column {name!r}")
    return decode_rows(spec, list(zip(*columns, strict=True)))


def _cell(cell: object) -> object:
    return cell.decode(errors="replace") if isinstance(cell, bytes) else cell
