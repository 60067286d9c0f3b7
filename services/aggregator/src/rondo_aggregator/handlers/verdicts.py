"""T2, the writing half: a verdict becomes a row, also after a lost answer or a lost race."""

import logging
from collections.abc import Sequence

from rondo_aggregator.domain.attempt import Attempt
from rondo_aggregator.domain.verdicts import (
    LATE,
    Accepted,
    Rejected,
    Verdict,
    accept_changes,
    in_commits,
    known_verdict,
    reject_change,
)
from rondo_core.errors import Unavailable
from rondo_core.rows import GateRow, UpdateRow, from_item
from rondo_core.run_store import CommitConflict, RunStore

__all__ = ["late", "settle"]

log = logging.getLogger(__name__)

_TRIES = 3


def settle(
    attempt: Attempt, verdicts: Sequence[Verdict], *, store: RunStore, takes_late: bool = False
) -> list[Verdict]:
    """Write verdicts and return those that are rows now, which may be others than were asked for.

    All acceptances go in one transaction, or one by one if that is cancelled. What is still
    undecided afterwards (its digest was replaced, others kept being in the way, or the round was
    sealed and ``takes_late``) is left out; the sweep finds it again.

    Raises:
        Unavailable: the table did not answer; some verdicts may be written.
    """
    accepted = [one for one in verdicts if isinstance(one, Accepted)]
    decided: list[Verdict | None] = []
    for group in in_commits(accepted):
        try:
            store.commit(*accept_changes(attempt, group))
            decided += group
        except (CommitConflict, Unavailable):  # unanswered: its rows say whether it was applied
            decided += [_accept(attempt, one, store, takes_late=takes_late) for one in group]
    decided += [_reject(attempt, one, store) for one in verdicts if isinstance(one, Rejected)]
    return [one for one in decided if one is not None]


def late(row: UpdateRow) -> Rejected:
    """Return the verdict on what came after the seal."""
    return Rejected(row, LATE, "the round takes no more updates")


def _accept(
    attempt: Attempt, verdict: Accepted, store: RunStore, *, takes_late: bool
) -> Verdict | None:
    for _ in range(_TRIES):
        try:
            store.commit(*accept_changes(attempt, [verdict]))
            return verdict
        except CommitConflict:
            row = _same_update(attempt, verdict, store)
            if row is None:
                return None
            if (known := known_verdict(row)) is not None:
                return known
            if _gate_closed(attempt, row.client_id, store):
                return None if takes_late else _reject(attempt, late(row), store)
    log.warning("update left to the sweep", extra={"client_id": verdict.row.client_id})
    return None


def _reject(attempt: Attempt, verdict: Rejected, store: RunStore) -> Verdict | None:
    try:
        store.commit(reject_change(attempt, verdict))
    except CommitConflict:
        row = _same_update(attempt, verdict, store)
        return None if row is None else known_verdict(row)
    return verdict


def _same_update(attempt: Attempt, verdict: Verdict, store: RunStore) -> UpdateRow | None:
    """Read an update's row, if it is still about the bytes that were judged."""
    item = store.get(attempt.update_key(verdict.row.client_id))
    row = None if item is None else from_item(item, UpdateRow)
    return row if row is not None and row.sha256 == verdict.row.sha256 else None


def _gate_closed(attempt: Attempt, client_id: str, store: RunStore) -> bool:
    """A gate never opens again, so that what it keeps out once is late for good."""
    item = store.get(attempt.gate_key(client_id))
    return item is not None and from_item(item, GateRow).state != "OPEN"
