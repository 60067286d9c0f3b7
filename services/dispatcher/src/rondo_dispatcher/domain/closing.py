"""T3 and T4: an open attempt is sealed, and the set of accepted updates frozen in a manifest."""

from datetime import datetime

from msgspec import structs

from rondo_core.errors import Unavailable
from rondo_core.events import RoundSealed
from rondo_core.manifest import Manifest, ManifestEntry
from rondo_core.rows import GATES, RoundRow, RunRow, VersionRow, gate_key
from rondo_core.run_store import Equals, Lacks, Update
from rondo_dispatcher.domain.attempts import Attempt, AttemptId, unchanged
from rondo_dispatcher.domain.plan import Abort, Plan, row_update

__all__ = ["close", "manifest_of", "reference"]


def close(attempt: Attempt, *, now: datetime) -> Plan | Abort | None:
    """Return what comes next for an OPEN attempt: T3, an end, or None to go on waiting.

    The attempt is over at ``target`` accepted updates, at the deadline, or when every chosen client
    has its verdict. It is the rows that are counted: gates are read before them, so their sum may
    be behind.
    """
    row, accepted = attempt.row, len(attempt.accepted)
    if accepted >= row.target:
        return _seal(row, now)
    overdue = row.deadline_at is not None and now >= row.deadline_at
    if not (overdue or attempt.all_judged):
        return None
    if accepted >= row.quorum:
        return _seal(row, now)
    why = "the deadline passed" if overdue else "every update had its verdict"
    return Abort(
        f"not enough updates: {accepted} of {len(row.clients)} clients' were accepted when {why},"
        f" and the quorum is {row.quorum}"
    )


def _seal(row: RoundRow, now: datetime) -> Plan:
    of = AttemptId.of(row)
    sealed = structs.replace(row, state="SEALED", sealed_at=now)
    gates = tuple(
        Update(gate_key(*of, k), assign={"state": "SEALED"}, when=(Equals("state", "OPEN"),))
        for k in range(GATES)
    )
    return Plan((row_update(of.key, row, sealed, when=unchanged(row)), *gates))


def manifest_of(attempt: Attempt, run: RunRow, base: VersionRow) -> Manifest:
    """Return everything that the round's result depends on, from rows read after the seal.

    Raises:
        Unavailable: the rows are not those that the gates counted, so the read was not complete.
    """
    row, accepted = attempt.row, attempt.accepted
    if len(accepted) != attempt.counted:
        raise Unavailable(
            f"{'/'.join(AttemptId.of(row).key)} has {len(accepted)} accepted updates"
            f" where its gates counted {attempt.counted}"
        )
    return Manifest(
        run_id=row.run_id,
        round=row.round,
        attempt=row.attempt,
        base=row.base_sha256,
        layout=row.layout,
        strategy=run.strategy,
        parameters=run.parameters,
        updates=tuple(
            ManifestEntry(
                client_id=update.client_id,
                sha256=update.sha256,
                examples=update.examples,
                key=update.key,
                object_version=update.object_version or "",
            )
            for update in accepted
        ),
        optimizer_state=base.optimizer_state,
    )


def reference(row: RoundRow, manifest: str, *, updates: int, now: datetime) -> Plan:
    """Return T4's commit: the row names the manifest, whose object exists, and RoundSealed says so.

    Args:
        row: SEALED, without a manifest.
        manifest: SHA-256 of the manifest.
        updates: how many it holds.
        now: when that happens.
    """
    of = AttemptId.of(row)
    event = RoundSealed(
        event_id=of.event_id("RoundSealed"),
        run_id=of.run_id,
        round=of.round,
        attempt=of.attempt,
        occurred_at=now,
        manifest=manifest,
        updates=updates,
    )
    named = structs.replace(row, manifest=manifest)
    conditions = (Equals("state", "SEALED"), Lacks("manifest"))
    return Plan((row_update(of.key, row, named, when=conditions),), (event,))
