"""T9 and what follows an end: tokens are answered, the attempt leaves the index, the run ends."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from msgspec import structs

from rondo_core.events import (
    Event,
    RoundAborted,
    RunFinished,
    VersionHeld,
    VersionPromoted,
)
from rondo_core.keys import GATES, gate_key, run_key
from rondo_core.rows import RoundRow, RunRow
from rondo_core.run_store import Change, Equals, Update
from rondo_dispatcher.domain.attempts import AttemptId, unchanged
from rondo_dispatcher.domain.plan import Plan, row_update

__all__ = [
    "MAX_ATTEMPTS",
    "Answer",
    "Fail",
    "Succeed",
    "abort",
    "all_accepted",
    "answer",
    "finish",
    "settle",
]

MAX_ATTEMPTS = 2
"""Attempts of one round before the run fails; ``run.asl.json`` counts to the same number."""


@dataclass(frozen=True, slots=True)
class Succeed:
    """The round has made this version."""

    version: int


@dataclass(frozen=True, slots=True)
class Fail:
    """The attempt ended without a version."""

    reason: str


Answer = Succeed | Fail


def answer(row: RoundRow, *, head: int) -> Answer:
    """Return what a task that waits for a terminal attempt is told.

    Args:
        row: the attempt, COMMITTED or ABORTED.
        head: N of the run's newest version, read after the row. Where the round has its version
            from another attempt, that is the answer: the state machine asks for rounds.
    """
    if row.state == "COMMITTED" or head > row.base:
        return Succeed(row.base + 1)
    return Fail(row.reason or "")


def abort(row: RoundRow, reason: str, *, run: RunRow, head: int, now: datetime) -> Plan:
    """Return T9 on the state that was read; the last attempt's end is the run's end too."""
    of = AttemptId.of(row)
    aborted = structs.replace(
        row, state="ABORTED", reason=reason, epoch=row.epoch + 1, ended_at=now
    )
    changes: list[Change] = [row_update(of.key, row, aborted, when=unchanged(row))]
    if row.state != "PENDING":
        gate = (Equals("state", row.state),)
        changes += [
            Update(gate_key(*of, k), assign={"state": "CLOSED"}, when=gate) for k in range(GATES)
        ]
    events: list[Event] = [
        RoundAborted(
            event_id=of.event_id("RoundAborted"),
            run_id=of.run_id,
            round=of.round,
            attempt=of.attempt,
            occurred_at=now,
            reason=reason,
        )
    ]
    if row.attempt >= MAX_ATTEMPTS and head == row.base and run.state in {"RUNNING", "PAUSED"}:
        why = f"round {row.round}, attempt {row.attempt}: {reason}"
        end = _end(run, "FAILED", why, now)
        changes += end.changes
        events += end.events
    return Plan(tuple(changes), tuple(events))


def all_accepted(row: RoundRow) -> bool:
    """Tell whether every chosen client's update is in the manifest, so that none awaits a verdict.

    True too when none was chosen.
    """
    return (row.updates or 0) == len(row.clients)


def settle(row: RoundRow, *, answered: frozenset[str], awaits_verdict: bool) -> Plan | None:
    """Return how a terminal attempt lets go of answered tokens, or None when nothing is to be done.

    It leaves the index when no token is left, and no reported update that awaits its verdict.
    No token joins a terminal attempt, so what was read is all there is.
    """
    leaves = answered >= row.task_tokens and not awaits_verdict and row.active is not None
    if not (answered or leaves):
        return None
    return Plan(
        (
            Update(
                AttemptId.of(row).key,
                discard={"task_tokens": answered} if answered else {},
                remove=("active",) if leaves else (),
                when=(Equals("state", row.state),),
            ),
        )
    )


def finish(run: RunRow, verdict: VersionPromoted | VersionHeld, *, now: datetime) -> Plan | None:
    """Return how the verdict on its last version ends a run; None when it is over or goes on."""
    if run.state not in {"RUNNING", "PAUSED"} or verdict.version != run.rounds:
        return None
    if isinstance(verdict, VersionPromoted):
        return _end(run, "FINISHED", f"promoted as version {verdict.model_version}", now)
    return _end(run, "FINISHED", f"held: {verdict.reason}", now)


def _end(run: RunRow, state: Literal["FINISHED", "FAILED"], reason: str, now: datetime) -> Plan:
    over = structs.replace(run, state=state, reason=reason, finished_at=now, active=None)
    change = row_update(run_key(run.run_id), run, over, when=(Equals("state", run.state),))
    event = RunFinished(
        event_id=f"RunFinished/{run.run_id}",
        run_id=run.run_id,
        occurred_at=now,
        state=state,
        reason=reason,
    )
    return Plan((change,), (event,))
