"""What the watcher saw at one moment, and what each waiting client is answered from it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from rondo_core.rows import AssignRow, RoundRow, RunRow, UpdateRow, VersionRow
from rondo_gateway.domain.attempts import AttemptId

__all__ = ["EMPTY", "Interests", "OpenAttempt", "Snapshot", "Waiter", "judged", "over", "pick"]

OVER = frozenset({"FINISHED", "FAILED", "CANCELLED"})
JUDGED = frozenset({"ACCEPTED", "REJECTED", "MOVED"})


@dataclass(frozen=True, slots=True)
class OpenAttempt:
    """An attempt that clients may work on; nothing in it changes while it is open."""

    where: AttemptId
    round: RoundRow
    run: RunRow
    base: VersionRow
    assigned: Mapping[str, AssignRow]
    deadline_at: datetime


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything that anybody waits for.

    Attributes:
        active_runs: runs that have an attempt which is not over; they are RUNNING or PAUSED.
        attempts: the open ones.
        updates: per attempt whose verdicts are waited for, client -> its update.
        runs: the META rows that were looked at; None where there is none yet.
        unreadable: rows that were skipped, with the reason: one bad run does not stop the others.
        looked_at: when the META rows were looked at; does not count when two are compared.
    """

    active_runs: frozenset[str] = frozenset()
    attempts: Mapping[AttemptId, OpenAttempt] = field(default_factory=dict)
    updates: Mapping[AttemptId, Mapping[str, UpdateRow]] = field(default_factory=dict)
    runs: Mapping[str, RunRow | None] = field(default_factory=dict)
    unreadable: frozenset[str] = frozenset()
    looked_at: Mapping[str, datetime] = field(default_factory=dict, compare=False)


EMPTY = Snapshot()


class Interests(NamedTuple):
    """What all waiters together need to see."""

    work: bool = False
    runs: frozenset[str] = frozenset()
    verdicts: frozenset[AttemptId] = frozenset()


class Waiter(NamedTuple):
    """What one waiter needs to see; equal ones are watched once.

    Attributes:
        run: the waiter wants to hear when this run is over.
        verdict: it wants the verdict on its update in this attempt, and no work.
    """

    run: str | None = None
    verdict: AttemptId | None = None


def pick(
    snapshot: Snapshot, client_id: str, model: str, *, done: AttemptId | None, now: datetime
) -> OpenAttempt | None:
    """Choose what a client should do: the open attempt of its model with the earliest deadline.

    Left out are ``done``, what has passed its deadline, and what the client is known to have
    reported.
    """
    mine = [
        attempt
        for where, attempt in snapshot.attempts.items()
        if attempt.round.model == model
        and client_id in attempt.assigned
        and where != done
        and not _reported(snapshot, where, client_id)
        and attempt.deadline_at > now
    ]
    return min(mine, key=lambda attempt: (attempt.deadline_at, attempt.where), default=None)


def over(snapshot: Snapshot, run_id: str | None) -> RunRow | None:
    """Return the META row of a run that is over, if it is known to be."""
    row = snapshot.runs.get(run_id or "")
    return row if row is not None and row.state in OVER else None


def judged(snapshot: Snapshot, where: AttemptId, client_id: str) -> UpdateRow | None:
    """Return a client's update once it was accepted or rejected, or moved to a later attempt."""
    row = snapshot.updates.get(where, {}).get(client_id)
    return row if row is not None and row.state in JUDGED else None


def _reported(snapshot: Snapshot, where: AttemptId, client_id: str) -> bool:
    row = snapshot.updates.get(where, {}).get(client_id)
    return row is not None and row.state != "DECLARED"
