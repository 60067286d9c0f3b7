"""Registering a model spec: what must agree, and what is written."""

from datetime import datetime
from itertools import zip_longest

import msgspec

from rondo_core.initial_weights import layout_of_spec
from rondo_core.keys import model_row_key, spec_row_key
from rondo_core.layout import Layout
from rondo_core.model_rows import ModelRow, SpecRow
from rondo_core.model_spec import ModelSpec
from rondo_core.operator_wire import SpecRegistration
from rondo_core.rows import to_item
from rondo_core.run_store import Absent, Change, Put
from rondo_gateway.domain.refusals import Refused, Unfit

__all__ = ["check_registration", "check_same", "spec_changes", "spec_row"]


def check_registration(model: str, spec: ModelSpec, layout: Layout, body: SpecRegistration) -> None:
    """Check that spec, layout and initial weights belong together, and to the model.

    Raises:
        Unfit: ``wrong-model``, ``invalid-header`` or ``wrong-size``.
    """
    if spec.model != model:
        rule = f"{spec.model!r} is not the model of the path, {model!r} - at `$.spec.model`"
        raise Unfit("wrong-model", rule)
    if layout != (wanted := layout_of_spec(spec)):
        raise Unfit("invalid-header", f"{_difference(wanted, layout)} - at `$.header`")
    if body.initial.size != layout.size_bytes:
        size = f"{body.initial.size} bytes; a file of this layout has {layout.size_bytes}"
        raise Unfit("wrong-size", f"{size} - at `$.initial.size`")


def spec_row(spec: ModelSpec, layout: Layout, body: SpecRegistration, *, now: datetime) -> SpecRow:
    """Return the row of a registration."""
    return SpecRow(
        model=spec.model,
        spec=spec.sha256,
        layout=layout.digest,
        header_bytes=layout.data_offset,
        initial_sha256=body.initial.sha256,
        initial_size=body.initial.size,
        holdout_sha256=body.holdout.sha256,
        holdout_size=body.holdout.size,
        created_at=now,
    )


def spec_changes(row: SpecRow) -> tuple[Change, ...]:
    """Return the commit of a registration; it fails if the spec is registered already."""
    return (
        Put(spec_row_key(row.model, row.spec), to_item(row), when=(Absent(),)),
        Put(model_row_key(row.model), to_item(ModelRow(model=row.model))),
    )


def check_same(existing: SpecRow, row: SpecRow) -> None:
    """Allow a repeated registration.

    Raises:
        Refused: ``spec-taken``, the same spec is registered with other objects.
    """
    if msgspec.structs.replace(row, created_at=existing.created_at) != existing:
        rule = f"spec {row.spec} is registered with other initial weights or another holdout"
        raise Refused("spec-taken", rule)


def _difference(wanted: Layout, found: Layout) -> str:
    """Name the first tensor that differs."""
    for position, pair in enumerate(zip_longest(found.tensors, wanted.tensors)):
        if pair[0] != pair[1]:
            return f"tensor {position} is {pair[0]}, the spec says {pair[1]}"
    raise AssertionError("layouts of equal tensors are equal")
