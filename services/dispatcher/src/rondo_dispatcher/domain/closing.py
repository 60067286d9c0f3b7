"""T3 and T4: an open attempt is sealed, and the set of accepted updates frozen in a manifest."""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime

from msgspec import structs

from rondo_core.errors import Unavailable
from rondo_core.events import RoundSealed
from rondo_core.keys import GATES, gate_key, gate_of
from rondo_core.manifest import Manifest, ManifestEntry
from rondo_core.rows import RoundRow
from rondo_core.run_store import Equals, Lacks, Update
from rondo_core.strategies import buffering
from rondo_dispatcher.domain.attempts import Attempt, AttemptId, unchanged
from rondo_dispatcher.domain.plan import Abort, Plan, row_update

__all__ = ["Seal", "close", "manifest_of", "refer", "require_all_counted", "seal", "seal_and_refer"]


@dataclass(frozen=True, slots=True)
class Seal:
    """The attempt has what it needs: nothing more is to be accepted."""


def close(attempt: Attempt, *, now: datetime) -> Seal | Abort | None:
    """Return what comes next for an OPEN attempt, or None to go on waiting.

    It is over at ``target`` accepted updates (or as many as FedBuff's buffer holds), at the
    deadline, or when every chosen client has its verdict.
    """
    row, accepted = attempt.row, len(attempt.accepted)
    buffer = buffering(row.strategy, row.parameters)
    if accepted >= (row.target if buffer is None else buffer.buffer_size or row.target):
        return Seal()
    overdue = row.deadline_at is not None and now >= row.deadline_at
    if not overdue and attempt.unjudged:
        return None
    if accepted >= row.quorum:
        return Seal()
    why = "the deadline passed" if overdue else "every update had its verdict"
    return Abort(
        f"not enough updates: {accepted} of {len(row.clients)} clients' were accepted when {why},"
        f" and the quorum is {row.quorum}"
    )


def seal(row: RoundRow, *, now: datetime) -> Plan:
    """Return T3: the row and its gates are SEALED, whatever was accepted until then."""
    of = AttemptId.of(row)
    sealed = structs.replace(row, state="SEALED", sealed_at=now)
    gates = tuple(
        Update(gate_key(*of, k), assign={"state": "SEALED"}, when=(Equals("state", "OPEN"),))
        for k in range(GATES)
    )
    return Plan((row_update(of.key, row, sealed, when=unchanged(row)), *gates))


def require_all_counted(attempt: Attempt) -> None:
    """Check, before T4, that the read after the seal found every update that was accepted.

    Raises:
        Unavailable: the rows are not those that the gates counted.
    """
    if len(attempt.accepted) != attempt.counted:
        raise Unavailable(
            f"{'/'.join(AttemptId.of(attempt.row).key)} has {len(attempt.accepted)} accepted"
            f" updates where its gates counted {attempt.counted}"
        )


def manifest_of(attempt: Attempt) -> Manifest:
    """Return everything that the round's result depends on."""
    row = attempt.row
    return Manifest(
        run_id=row.run_id,
        round=row.round,
        attempt=row.attempt,
        base=row.base_sha256,
        layout=row.layout,
        strategy=row.strategy,
        parameters=row.parameters,
        encoding=row.encoding,
        updates=tuple(
            ManifestEntry(
                client_id=update.client_id,
                sha256=update.sha256,
                examples=update.examples,
                key=update.key,
                object_version=update.object_version or "",
                staleness=update.staleness,
                steps=update.steps,
            )
            for update in attempt.accepted
        ),
        optimizer_state=row.optimizer_state,
    )


def refer(attempt: Attempt, manifest: str, *, now: datetime) -> Plan:
    """Return T4's commit: the row names the manifest, whose object exists, and RoundSealed says so.

    Args:
        attempt: SEALED, without a manifest.
        manifest: SHA-256 of the manifest.
        now: when that happens.
    """
    row, updates = attempt.row, len(attempt.accepted)
    named = structs.replace(row, manifest=manifest, updates=updates)
    conditions = (Equals("state", "SEALED"), Lacks("manifest"))
    change = row_update(AttemptId.of(row).key, row, named, when=conditions)
    return Plan((change,), (_sealed_event(row, manifest, updates, now),))


def seal_and_refer(attempt: Attempt, manifest: str, *, now: datetime) -> Plan:
    """Return T3 and T4 in one commit, for when nothing is accepted between the read and the seal.

    Each gate must have counted exactly the accepted updates that were read. Then the strong read
    after the seal, which T4 asks for, would find the same, and one commit and one read are saved.
    Otherwise the commit fails, and T3 and T4 are made one after the other.

    Args:
        attempt: OPEN, with all its updates.
        manifest: SHA-256 of the manifest of exactly these, whose object exists.
        now: when that happens.
    """
    row, updates = attempt.row, len(attempt.accepted)
    of = AttemptId.of(row)
    sealed = structs.replace(row, state="SEALED", sealed_at=now, manifest=manifest, updates=updates)
    read = Counter(gate_of(update.client_id) for update in attempt.accepted)
    gates = tuple(
        Update(
            gate_key(*of, k),
            assign={"state": "SEALED"},
            when=(Equals("state", "OPEN"), Equals("n", read[k])),
        )
        for k in range(GATES)
    )
    change = row_update(of.key, row, sealed, when=unchanged(row))
    return Plan((change, *gates), (_sealed_event(row, manifest, updates, now),))


def _sealed_event(row: RoundRow, manifest: str, updates: int, now: datetime) -> RoundSealed:
    return RoundSealed(
        event_id=AttemptId.of(row).event_id("RoundSealed"),
        run_id=row.run_id,
        round=row.round,
        attempt=row.attempt,
        occurred_at=now,
        manifest=manifest,
        updates=updates,
    )
