"""Updates that were reported and not judged when their round was sealed (FedBuff): on they go."""

from collections.abc import Sequence
from contextlib import suppress

from rondo_aggregator.domain.attempt import Attempt
from rondo_aggregator.domain.verdicts import LATE, Rejected
from rondo_aggregator.handlers.ports import Jobs
from rondo_core.late_updates import Found, enter, find_place, refusal
from rondo_core.rows import UpdateRow
from rondo_core.run_store import CommitConflict, RunStore

__all__ = ["move_late"]


def move_late(
    attempt: Attempt, rows: Sequence[UpdateRow], *, store: RunStore, jobs: Jobs
) -> list[Rejected]:
    """Enter reported updates of an attempt that is not open any more where they belong now.

    While no round has begun they stay, and the sweep comes again. What was only declared stays too:
    its client takes it on with its report.

    Args:
        attempt: in any state but OPEN.
        rows: DECLARED or REPORTED.
        store: the table.
        jobs: is asked to judge what was entered.

    Returns:
        Those that no round takes any more; not written yet.

    Raises:
        Unavailable: table or broker did not answer; the sweep finds what is not moved or judged.
    """
    reported = [row for row in rows if row.state == "REPORTED"]
    place = find_place(attempt.run_id, store=store)
    if isinstance(place, str):
        return [Rejected(row, LATE, f"{place} and takes no more updates") for row in reported]
    there = Attempt(attempt.run_id, *place.where)
    rejected: list[Rejected] = []
    entered: list[str] = []
    for row in reported if there != attempt else ():
        found = Found((attempt.round, attempt.attempt), row)
        if (reason := refusal(found, place, row.client_id, store=store)) is not None:
            rejected.append(Rejected(row, LATE, reason))
            continue
        with suppress(CommitConflict):  # it, or the place, is another by now
            store.commit(*enter(row, found, place))
            entered.append(row.client_id)
    if entered:
        jobs.validate(there, entered)
    return rejected
