"""A run begins on RunRequested and is over with the verdict on its last version."""

from collections.abc import Sequence
from functools import partial

from rondo_core.errors import Invalid, NotFound
from rondo_core.events import RunRequested, VersionHeld, VersionPromoted
from rondo_core.keys import run_key, spec_row_key
from rondo_core.model_rows import SpecRow, choose_spec
from rondo_core.model_spec import parse_model_spec
from rondo_core.model_store import holdout_key, spec_key, weights_key
from rondo_core.rows import RunRow, from_item
from rondo_core.run_check import depends_on_spec, run_fault, training_fault
from rondo_dispatcher.domain.ending import finish
from rondo_dispatcher.domain.plan import Plan
from rondo_dispatcher.domain.runs import (
    difference,
    first_progress,
    missing,
    new_run,
    refused_run,
    unregistered,
)
from rondo_dispatcher.handlers.ports import Ports, find, require
from rondo_dispatcher.handlers.saving import look_until_done, publish_left, save

__all__ = ["on_run_requested", "on_verdict"]


def on_run_requested(events: Sequence[RunRequested], *, ports: Ports) -> None:
    """Write each run's first rows and start its state machine; twice is once.

    An impossible run is written as FAILED, with the reason.

    Raises:
        Invalid: the run exists and was asked for differently; the text names the field.
        CommitConflict: others were faster, too often in a row.
        Unavailable: a port did not answer.
    """
    for event in events:
        look_until_done(partial(_look_at_run, event, ports), ports=ports)


def _look_at_run(event: RunRequested, ports: Ports) -> bool:
    run = find(ports.store, run_key(event.run_id), RunRow)
    if run is None:
        save(_first_rows(event, ports), ports=ports)
        return True  # reads back what was written, and starts that
    if (field := difference(run, event)) is not None:
        raise Invalid(
            f"run {event.run_id} exists with {field} {getattr(run, field)!r},"
            f" and is asked for with {getattr(event, field)!r}"
        )
    if run.state == "RUNNING":
        ports.workflow.start(first_progress(run))
    return False


def _first_rows(event: RunRequested, ports: Ports) -> Plan:
    now = ports.clock.now()
    items = ports.store.query(*spec_row_key(event.model, event.spec or ""))
    spec = choose_spec([from_item(item, SpecRow) for item in items], event.spec)
    if spec is None:
        return refused_run(event, None, unregistered(event), now=now)
    reason = run_fault(event) or _missing_object(spec, ports) or _spec_fault(event, spec, ports)
    if reason is not None:
        return refused_run(event, spec, reason, now=now)
    return new_run(event, spec, now=now)


def _missing_object(spec: SpecRow, ports: Ports) -> str | None:
    wanted = {
        weights_key(spec.initial_sha256): spec.initial_size,
        holdout_key(spec.holdout_sha256): spec.holdout_size,
    }
    for key, size in wanted.items():
        info = ports.model_store.head(key)
        reason = missing(key, size=size, found=None if info is None else info.size)
        if reason is not None:
            return reason
    return None


def _spec_fault(event: RunRequested, spec: SpecRow, ports: Ports) -> str | None:
    if not depends_on_spec(event):
        return None
    try:
        data = ports.model_store.get(spec_key(spec.spec))
    except NotFound as exc:
        return str(exc)
    return training_fault(event, parse_model_spec(data).training)


def on_verdict(events: Sequence[VersionPromoted | VersionHeld], *, ports: Ports) -> None:
    """End each run whose last version was promoted or held.

    Raises:
        NotFound: there is no such run.
        CommitConflict: others were faster, too often in a row.
        Unavailable: a port did not answer.
    """
    for event in events:
        look_until_done(partial(_look_at_verdict, event, ports), ports=ports)


def _look_at_verdict(event: VersionPromoted | VersionHeld, ports: Ports) -> bool:
    run = require(ports.store, run_key(event.run_id), RunRow)
    plan = finish(run, event, now=ports.clock.now())
    if plan is None:
        publish_left(ports=ports)
    else:
        save(plan, ports=ports)
    return False
