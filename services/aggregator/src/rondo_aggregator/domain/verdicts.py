"""T2: which updates count. A verdict is decided once, by a conditional write."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from rondo_aggregator.domain.attempt import Attempt
from rondo_core.encodings import UpdateForm
from rondo_core.errors import UpdateInvalid
from rondo_core.events import UpdateAccepted, UpdateRejected
from rondo_core.keys import GATES
from rondo_core.rows import RoundRow, UpdateRow
from rondo_core.run_store import MAX_CHANGES, Change, Equals, OneOf, Update
from rondo_core.strategies import needs_steps

__all__ = [
    "LATE",
    "NO_OBJECT",
    "Accepted",
    "Rejected",
    "Verdict",
    "accept_changes",
    "check_declaration",
    "in_commits",
    "known_verdict",
    "reject_change",
    "verdict_event",
]

LATE = "late"
NO_OBJECT = "no-object"
_UNJUDGED = OneOf("state", ("DECLARED", "REPORTED"))
_UPDATES_A_COMMIT = MAX_CHANGES - GATES


@dataclass(frozen=True, slots=True)
class Accepted:
    """The update counts; ``object_version`` pins the bytes that were validated."""

    row: UpdateRow
    object_version: str


@dataclass(frozen=True, slots=True)
class Rejected:
    """The update does not count; ``code`` is for programs, ``reason`` for people."""

    row: UpdateRow
    code: str
    reason: str


Verdict = Accepted | Rejected


def known_verdict(row: UpdateRow) -> Verdict | None:
    """Return the verdict that a row holds already, or None: a repeat is told the same again."""
    if row.state == "ACCEPTED":
        return Accepted(row, row.object_version or "")
    if row.state == "REJECTED":
        return Rejected(row, row.code or "", row.reason or "")
    return None


def check_declaration(row: UpdateRow, round_: RoundRow, form: UpdateForm) -> None:
    """Check what the client said of its update, before a byte of it is fetched.

    So a client decides neither how much memory nor how much weight it gets.

    Raises:
        UpdateInvalid: with ``code`` not-chosen, wrong-size, wrong-examples or missing-steps.
    """
    if row.origin is None and row.client_id not in round_.clients:
        raise UpdateInvalid("not-chosen", f"{row.client_id} was not chosen for this round")
    if row.size != form.size_bytes:
        wanted = f"an update of this model in {form.name} has {form.size_bytes}"
        raise UpdateInvalid("wrong-size", f"{row.size} bytes declared, {wanted}")
    if row.examples < 1:
        raise UpdateInvalid("wrong-examples", f"{row.examples} examples declared, at least 1 count")
    if needs_steps(round_.strategy, round_.parameters) and not (row.steps or 0) >= 1:
        rule = f"{row.steps or 'no'} steps declared, strategy {round_.strategy!r} needs at least 1"
        raise UpdateInvalid("missing-steps", rule)


def in_commits(accepted: Sequence[Accepted]) -> Iterator[Sequence[Accepted]]:
    """Part updates so that each part, with the gates it touches, fits into one commit."""
    for start in range(0, len(accepted), _UPDATES_A_COMMIT):
        yield accepted[start : start + _UPDATES_A_COMMIT]


def accept_changes(attempt: Attempt, accepted: Sequence[Accepted]) -> list[Change]:
    """Return the commit that counts all the updates once, while the gates are open.

    The gate's condition keeps out what comes after the seal; the row's state keeps an update from
    counting twice; its digest keeps out bytes that are not those that were validated.
    """
    gates = Counter(attempt.gate_key(one.row.client_id) for one in accepted)
    counts: list[Change] = [
        Update(key, add={"n": number}, when=(Equals("state", "OPEN"),))
        for key, number in sorted(gates.items())
    ]
    return counts + [
        Update(
            attempt.update_key(one.row.client_id),
            assign={"state": "ACCEPTED", "object_version": one.object_version},
            when=(_UNJUDGED, Equals("sha256", one.row.sha256)),
        )
        for one in accepted
    ]


def reject_change(attempt: Attempt, rejected: Rejected) -> Change:
    """Return the write that refuses an update, unless it was judged or replaced meanwhile."""
    return Update(
        attempt.update_key(rejected.row.client_id),
        assign={"state": "REJECTED", "code": rejected.code, "reason": rejected.reason},
        when=(_UNJUDGED, Equals("sha256", rejected.row.sha256)),
    )


def verdict_event(
    attempt: Attempt, verdict: Verdict, now: datetime
) -> UpdateAccepted | UpdateRejected:
    """Return the hint that tells of a verdict; its truth is the row."""
    client_id, sha256 = verdict.row.client_id, verdict.row.sha256
    if isinstance(verdict, Accepted):
        return UpdateAccepted(
            event_id=attempt.event_id("UpdateAccepted", client_id),
            run_id=attempt.run_id,
            occurred_at=now,
            round=attempt.round,
            attempt=attempt.attempt,
            client_id=client_id,
            sha256=sha256,
        )
    return UpdateRejected(
        event_id=attempt.event_id("UpdateRejected", client_id),
        run_id=attempt.run_id,
        occurred_at=now,
        round=attempt.round,
        attempt=attempt.attempt,
        client_id=client_id,
        sha256=sha256,
        code=verdict.code,
        reason=verdict.reason,
    )
