"""RunRequested: whether the run is possible, and the rows that it begins with."""

from datetime import datetime
from typing import Literal

from rondo_core.events import RunFinished, RunProgress, RunRequested
from rondo_core.keys import head_key, run_key, run_pointer_key, version_key
from rondo_core.model_rows import SpecRow
from rondo_core.rows import HeadRow, RunPointerRow, RunRow, VersionRow, to_item
from rondo_core.run_store import Absent, Change, Put
from rondo_dispatcher.domain.plan import Plan

__all__ = [
    "difference",
    "first_progress",
    "missing",
    "new_run",
    "refused_run",
    "unregistered",
]

_COPIED = (
    "model",
    "strategy",
    "parameters",
    "training",
    "encoding",
    "rounds",
    "target",
    "quorum",
    "deadline_seconds",
    "start_deadline_seconds",
)


def unregistered(request: RunRequested) -> str:
    """Return what is said when there is no such model spec."""
    wanted = "a model spec" if request.spec is None else f"the model spec {request.spec}"
    return f"model {request.model!r} has not registered {wanted}"


def missing(key: str, *, size: int, found: int | None) -> str | None:
    """Return what is wrong with an object that a run needs, or None.

    Args:
        key: its name in the store.
        size: bytes that it must have.
        found: bytes that it has, or None when there is no such object.
    """
    if found is None:
        return f"object {key} is not in the store; was it uploaded?"
    return None if found == size else f"object {key} has {found} bytes, not {size}"


def new_run(request: RunRequested, spec: SpecRow, *, now: datetime) -> Plan:
    """Return the rows of a run that begins: META, HEAD 0 and version 0, the initial weights."""
    run = _run(request, spec.spec, spec.layout, state="RUNNING")
    initial = VersionRow(
        run_id=request.run_id,
        version=0,
        sha256=spec.initial_sha256,
        layout=spec.layout,
        size=spec.initial_size,
        committed_at=now,
    )
    return Plan(
        (
            *_meta(run),
            Put(head_key(run.run_id), to_item(HeadRow(version=0)), (Absent(),)),
            Put(version_key(run.run_id, 0), to_item(initial), (Absent(),)),
        )
    )


def refused_run(request: RunRequested, spec: SpecRow | None, reason: str, *, now: datetime) -> Plan:
    """Return the row of a run that cannot begin, so that whoever asked can read why."""
    digest = (request.spec or "") if spec is None else spec.spec
    layout = "" if spec is None else spec.layout
    run = _run(request, digest, layout, state="FAILED", reason=reason, finished_at=now)
    event = RunFinished(
        event_id=f"RunFinished/{run.run_id}",
        run_id=run.run_id,
        occurred_at=now,
        state="FAILED",
        reason=reason,
    )
    return Plan(_meta(run), (event,))


def difference(run: RunRow, request: RunRequested) -> str | None:
    """Return the first field in which a repeated request is another one, or None.

    A request without a spec asks for the newest, which may be another by now; it is no difference.
    """
    if request.spec not in {None, run.spec}:
        return "spec"
    return next(
        (name for name in _COPIED if getattr(run, name) != getattr(request, name)),
        None,
    )


def first_progress(run: RunRow) -> RunProgress:
    """Return what the run's state machine starts with."""
    return RunProgress(run_id=run.run_id, rounds=run.rounds, round=1, attempt=1)


def _run(
    request: RunRequested,
    spec: str,
    layout: str,
    *,
    state: Literal["RUNNING", "FAILED"],
    reason: str | None = None,
    finished_at: datetime | None = None,
) -> RunRow:
    return RunRow(
        run_id=request.run_id,
        model=request.model,
        spec=spec,
        layout=layout,
        strategy=request.strategy,
        parameters=request.parameters,
        training=request.training,
        encoding=request.encoding,
        rounds=request.rounds,
        target=request.target,
        quorum=request.quorum,
        deadline_seconds=request.deadline_seconds,
        start_deadline_seconds=request.start_deadline_seconds,
        state=state,
        reason=reason,
        requested_at=request.occurred_at,
        finished_at=finished_at,
        active="run" if state == "RUNNING" else None,
    )


def _meta(run: RunRow) -> tuple[Change, Change]:
    pointer = RunPointerRow(run_id=run.run_id, model=run.model)
    return (
        Put(run_key(run.run_id), to_item(run), (Absent(),)),
        Put(run_pointer_key(run.run_id, run.requested_at), to_item(pointer)),
    )
