"""Invites are made by operators and spent by clients."""

from collections.abc import Callable
from datetime import datetime

from rondo_core.client_wire import Enrolled, Enrolment
from rondo_core.errors import Unavailable
from rondo_core.keys import client_key, invite_key
from rondo_core.model_rows import ClientRow, InviteRow
from rondo_core.operator_wire import Invites, InvitesWanted
from rondo_core.rows import from_item
from rondo_core.run_store import MAX_CHANGES, CommitConflict, RunStore
from rondo_gateway.domain.enrolment import (
    check_invite,
    client_id_of,
    enrolled_before,
    enrolment_changes,
    invite_changes,
    invite_code,
    model_of_code,
)
from rondo_gateway.handlers.models import check_model

__all__ = ["enrol", "make_invites"]

TRIES = 20
"""Others may spend the same invite at the same moment; each try that loses means that one won."""


def enrol(body: Enrolment, *, store: RunStore, now: datetime) -> Enrolled:
    """Make a client of whoever brings an invite and a key. The same key again spends nothing.

    Raises:
        Refusal: see `rondo_gateway.domain.enrolment`.
        Unavailable: the table did not answer, or too many spend this invite at once.
    """
    model, client_id = model_of_code(body.invite), client_id_of(body.name, body.public_key)
    for _ in range(TRIES):
        item = store.get(client_key(model, client_id))
        if enrolled_before(None if item is None else from_item(item, ClientRow), body.public_key):
            return Enrolled(client_id=client_id, model=model)
        item = store.get(invite_key(model, body.invite))
        invite = check_invite(None if item is None else from_item(item, InviteRow), now=now)
        try:
            store.commit(*enrolment_changes(client_id, body, invite, now=now))
        except CommitConflict:
            continue
        return Enrolled(client_id=client_id, model=model)
    raise Unavailable(f"invite of {model}: {TRIES} tries met others")


def make_invites(
    model: str,
    wanted: InvitesWanted,
    *,
    store: RunStore,
    new_secret: Callable[[], str],
    now: datetime,
) -> Invites:
    """Make invites; only their hashes are kept.

    Raises:
        Missing: no such model.
        Unavailable: the table did not answer; the codes that were written are lost, harmlessly.
    """
    check_model(model, store=store)
    codes = [invite_code(model, new_secret()) for _ in range(wanted.count)]
    expires_at, changes = invite_changes(model, codes, wanted, now=now)
    for start in range(0, len(changes), MAX_CHANGES):
        store.commit(*changes[start : start + MAX_CHANGES])
    return Invites(model=model, codes=codes, expires_at=expires_at)
