"""An operator's wish for a run, as an event."""

from datetime import datetime
from typing import Any

import msgspec

from rondo_core.events import RunRequested
from rondo_core.faults import read_fault
from rondo_core.run_check import run_fault
from rondo_gateway.domain.refusals import Unfit

__all__ = ["REQUESTED_FIELDS", "default_run_id", "run_requested"]

ENVELOPE = frozenset({"event_id", "occurred_at", "run_id"})
REQUESTED_FIELDS = tuple(name for name in RunRequested.__struct_fields__ if name not in ENVELOPE)
"""What the body may say beside ``run_id``; other fields are skipped."""
MODEL_CHARACTERS = 40


def default_run_id(model: str, *, now: datetime, suffix: str) -> str:
    """Name a run that was not given a name.

    >>> from datetime import UTC
    >>> default_run_id("digits", now=datetime(2026, 1, 2, tzinfo=UTC), suffix="3f2a")
    'digits-20260102-000000-3f2a'
    """
    return f"{model[:MODEL_CHARACTERS]}-{now:%Y%m%d-%H%M%S}-{suffix}"


def run_requested(body: dict[str, Any], *, suffix: str, now: datetime) -> RunRequested:
    """Make the event of a request's body; twice the same ``run_id`` is the same event.

    Args:
        body: ``RunRequested``'s data, and ``run_id`` if the caller chose it.
        suffix: tells apart the runs that are asked for in one second.
        now: timezone-aware.

    Raises:
        Unfit: ``invalid-body``; the text names the path and the value found.
    """
    fields = {name: body[name] for name in REQUESTED_FIELDS if name in body}
    run_id = body.get("run_id") or default_run_id(str(body.get("model")), now=now, suffix=suffix)
    fields |= {"event_id": f"RunRequested/{run_id}", "run_id": run_id, "occurred_at": now}
    try:
        event = msgspec.convert(fields, type=RunRequested)
    except msgspec.ValidationError as exc:
        raise Unfit("invalid-body", str(read_fault(exc, fields))) from exc
    if (fault := run_fault(event)) is not None:
        raise Unfit("invalid-body", fault)
    return event
