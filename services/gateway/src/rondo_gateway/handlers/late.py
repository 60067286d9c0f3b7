"""Updates whose round is sealed, in runs that take them (FedBuff): entered where they belong."""

from collections.abc import Sequence
from datetime import datetime

from msgspec import structs

from rondo_core.errors import Unavailable
from rondo_core.late_updates import Found, Place, Where, enter, find_place, find_update, refusal
from rondo_core.rows import UpdateRow
from rondo_core.run_store import Change, CommitConflict, RunStore
from rondo_gateway.domain.attempts import AttemptId
from rondo_gateway.domain.refusals import Refused
from rondo_gateway.domain.updates import LATE, other_digest

__all__ = ["declare_late", "report_late"]

TRIES = 5


def declare_late(
    where: AttemptId, row: UpdateRow, *, store: RunStore
) -> tuple[AttemptId, UpdateRow]:
    """Write a declaration where the update belongs now; return that attempt, and the row there.

    Args:
        where: the attempt that the client was chosen for.
        row: DECLARED.
        store: the table.

    Raises:
        Refused: ``late``, the text says why no round takes it; ``already-reported``.
        Unavailable: the table did not answer, or others kept being in the way.
    """
    for _ in range(TRIES):
        found = _find(where, row.client_id, store)
        if found.row is not None and found.row.state != "DECLARED":
            return _repeated(found.row, found.where, where, row.sha256)
        place = _place(found, where, row.client_id, store)
        if _written(enter(row, found, place), store):
            return _attempt(where, place.where), row
    raise Unavailable(f"update of {row.client_id} for {where}: others were in the way")


def report_late(
    where: AttemptId, client_id: str, sha256: str, *, store: RunStore, now: datetime
) -> tuple[AttemptId, UpdateRow]:
    """Write a report where the update belongs now; otherwise as `declare_late`.

    Raises:
        Refused: ``not-declared`` or ``other-digest`` too.
    """
    for _ in range(TRIES):
        found = _find(where, client_id, store)
        if found.row is None:
            raise Refused("not-declared", f"{sha256} was not declared for {where}")
        if found.row.state != "DECLARED" or found.row.sha256 != sha256:
            return _repeated(found.row, found.where, where, sha256)
        place = _place(found, where, client_id, store)
        row = structs.replace(found.row, state="REPORTED", reported_at=now)
        if _written(enter(row, found, place), store):
            return _attempt(where, place.where), row
    raise Unavailable(f"update of {client_id} for {where}: others were in the way")


def _find(where: AttemptId, client_id: str, store: RunStore) -> Found:
    return find_update(where.run_id, where[1:], client_id, store=store)


def _place(found: Found, where: AttemptId, client_id: str, store: RunStore) -> Place:
    place = find_place(where.run_id, store=store)
    if isinstance(place, str):
        raise Refused(LATE, f"{place} and takes no more updates")
    if (reason := refusal(found, place, client_id, store=store)) is not None:
        raise Refused(LATE, reason)
    return place


def _repeated(
    row: UpdateRow, at: Where, where: AttemptId, sha256: str
) -> tuple[AttemptId, UpdateRow]:
    if row.sha256 != sha256:
        raise other_digest(row, sha256)
    return _attempt(where, at), row


def _attempt(where: AttemptId, at: Where) -> AttemptId:
    return AttemptId(where.run_id, *at)


def _written(changes: Sequence[Change], store: RunStore) -> bool:
    try:
        store.commit(*changes)
    except CommitConflict:
        return False
    return True
