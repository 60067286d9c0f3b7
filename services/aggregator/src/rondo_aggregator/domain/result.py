"""T5 and T7: who may commit a round's result, and the one transaction that does it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from msgspec import structs

from rondo_aggregator.domain.attempt import Attempt
from rondo_core.events import VersionCommitted
from rondo_core.keys import head_key, version_key
from rondo_core.manifest import Manifest
from rondo_core.rows import RoundRow, VersionRow, to_item
from rondo_core.run_store import Absent, Change, Equals, Lacks, Put, Update

__all__ = [
    "Result",
    "claim",
    "claim_change",
    "commit_changes",
    "failure_change",
    "lease_change",
    "may_claim",
    "version_committed",
]

_SEALED = Equals("state", "SEALED")


@dataclass(frozen=True, slots=True)
class Result:
    """What a round made: the object is in the store already.

    Attributes:
        sha256: of the version's file.
        size: of that file, in bytes.
        metrics: what the clients measured on the base version.
        optimizer_state: SHA-256 of the state after the round, where the strategy keeps one.
        control: SHA-256 of that state's control variate, where it has one.
    """

    sha256: str
    size: int
    metrics: Mapping[str, float]
    optimizer_state: str | None = None
    control: str | None = None


def may_claim(round_: RoundRow, *, owner: str, take_over: int | None) -> bool:
    """Say whether a worker may try to claim a sealed round.

    Args:
        round_: as it was just read.
        owner: the worker; what it claimed itself it may claim again, since it does one thing at a
            time and so has given up the first try.
        take_over: the epoch whose lease somebody watched run out, or None.
    """
    return round_.owner in {None, owner} or round_.epoch == take_over


def claim(round_: RoundRow, *, owner: str) -> RoundRow:
    """Return the row as it will be once the claim is written."""
    return structs.replace(round_, epoch=round_.epoch + 1, owner=owner, lease=round_.lease + 1)


def claim_change(attempt: Attempt, claimed: RoundRow) -> Change:
    """Return T5: the next epoch is this worker's, if nobody was faster."""
    return Update(
        attempt.key,
        assign={"epoch": claimed.epoch, "owner": claimed.owner or ""},
        add={"lease": 1},
        when=(_SEALED, Equals("epoch", claimed.epoch - 1)),
    )


def lease_change(attempt: Attempt) -> Change:
    """Return the sign of life of whoever works on a sealed round."""
    return Update(attempt.key, add={"lease": 1}, when=(_SEALED,))


_REASON_CHARACTERS = 1000
"""A row and an event have to hold it, whatever an organisation's own strategy says."""


def failure_change(attempt: Attempt, reason: str) -> Change:
    """Return the note that this round can never be combined, for the dispatcher to abort on.

    Without a fence: the result is a pure function, so that whoever tries comes to the same end.
    """
    told = reason if len(reason) <= _REASON_CHARACTERS else f"{reason[:_REASON_CHARACTERS]}…"
    return Update(attempt.key, assign={"reason": told}, when=(_SEALED, Lacks("reason")))


def version_committed(
    attempt: Attempt, version: int, result: Result, now: datetime
) -> VersionCommitted:
    """Return the event of the commit."""
    return VersionCommitted(
        event_id=attempt.event_id("VersionCommitted"),
        run_id=attempt.run_id,
        occurred_at=now,
        round=attempt.round,
        attempt=attempt.attempt,
        version=version,
        sha256=result.sha256,
        metrics=dict(result.metrics),
    )


def commit_changes(
    attempt: Attempt, round_: RoundRow, manifest: Manifest, result: Result, now: datetime
) -> list[Change]:
    """Return T7 without its outbox row: round, version and head move together or not at all.

    Args:
        attempt: which.
        round_: as the claim left it; its epoch is the fence.
        manifest: what the result was made of.
        result: what was made.
        now: the time of the commit.
    """
    version = VersionRow(
        run_id=attempt.run_id,
        version=round_.base + 1,
        sha256=result.sha256,
        layout=round_.layout,
        size=result.size,
        parent=round_.base,
        manifest=round_.manifest,
        updates=len(manifest.updates),
        examples=sum(entry.examples for entry in manifest.updates),
        optimizer_state=result.optimizer_state,
        control=result.control,
        metrics=dict(result.metrics),
        committed_at=now,
    )
    return [
        Update(
            attempt.key,
            assign={
                "state": "COMMITTED",
                "result": result.sha256,
                "ended_at": now.isoformat(),
            },
            remove=("owner",),
            when=(_SEALED, Equals("epoch", round_.epoch)),
        ),
        Put(version_key(attempt.run_id, version.version), to_item(version), when=(Absent(),)),
        Update(
            head_key(attempt.run_id),
            assign={"version": version.version},
            when=(Equals("version", round_.base),),
        ),
    ]
