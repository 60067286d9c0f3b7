"""Who becomes a client: an invite of a model, a name and an Ed25519 public key."""

import hashlib
from datetime import datetime, timedelta

from rondo_core.client_wire import Enrolment
from rondo_core.keys import client_key, invite_key
from rondo_core.model_rows import ClientRow, InviteRow
from rondo_core.operator_wire import InvitesWanted
from rondo_core.rows import to_item
from rondo_core.run_store import Absent, Change, Equals, Put, Update
from rondo_gateway.domain.refusals import Forbidden, Missing, Refused, Unfit

__all__ = [
    "MAX_NAME",
    "check_invite",
    "client_id_of",
    "enrolled_before",
    "enrolment_changes",
    "invite_changes",
    "invite_code",
    "model_of_code",
]

MAX_CLIENT_ID = 64
KEY_DIGITS = 8
MAX_NAME = MAX_CLIENT_ID - KEY_DIGITS - 1
"""So that the client's id is a name too."""


def invite_code(model: str, secret: str) -> str:
    """Spell a code so that the model can be read from it."""
    return f"{model}.{secret}"


def model_of_code(code: str) -> str:
    """Return the model that an invite code names.

    Raises:
        Missing: ``invite-unknown``.

    >>> model_of_code("digits.v1.s3cret")
    'digits.v1'
    """
    model, _, secret = code.rpartition(".")
    if not model or not secret:
        raise _unknown()
    return model


def client_id_of(name: str, public_key: bytes) -> str:
    """Name a client: its name, a dash and the first 8 hex digits of its key's SHA-256.

    Raises:
        Unfit: ``name-too-long``.

    >>> client_id_of("north", bytes(32))
    'north-66687aad'
    """
    if len(name) > MAX_NAME:
        raise Unfit("name-too-long", f"{len(name)} characters are over {MAX_NAME} - at `$.name`")
    return f"{name}-{hashlib.sha256(public_key).hexdigest()[:KEY_DIGITS]}"


def enrolled_before(row: ClientRow | None, public_key: bytes) -> bool:
    """Tell whether this very key is enrolled already.

    Raises:
        Refused: ``name-taken``, another key has the same name and the same first digits.
    """
    if row is None:
        return False
    if row.public_key != public_key:
        raise Refused("name-taken", f"another key is enrolled as {row.client_id!r}")
    return True


def check_invite(invite: InviteRow | None, *, now: datetime) -> InviteRow:
    """Return the invite if it can be used.

    Raises:
        Missing: ``invite-unknown``.
        Forbidden: ``invite-expired`` or ``invite-used-up``.
    """
    if invite is None:
        raise _unknown()
    if invite.expires_at <= now:
        raise Forbidden("invite-expired", f"the invite was good until {invite.expires_at}")
    if invite.uses_left <= 0:
        raise Forbidden("invite-used-up", "the invite was used as often as it may be")
    return invite


def enrolment_changes(
    client_id: str, body: Enrolment, invite: InviteRow, *, now: datetime
) -> tuple[Change, ...]:
    """Return the commit that spends one use of the invite and writes the client's row.

    It fails if the invite was used in between, or if the client exists: read both again.
    """
    row = ClientRow(
        client_id=client_id,
        model=invite.model,
        name=body.name,
        public_key=body.public_key,
        enrolled_at=now,
        last_seen=now,
    )
    return (
        Update(
            invite_key(invite.model, body.invite),
            assign={"uses_left": invite.uses_left - 1},
            when=(Equals("uses_left", invite.uses_left),),
        ),
        Put(client_key(row.model, row.client_id), to_item(row), when=(Absent(),)),
    )


def invite_changes(
    model: str, codes: list[str], wanted: InvitesWanted, *, now: datetime
) -> tuple[datetime, list[Change]]:
    """Return when the invites expire, and the rows that hold their hashes."""
    expires_at = now + timedelta(seconds=wanted.expires_seconds)
    row = InviteRow(model=model, uses_left=wanted.uses, expires_at=expires_at)
    return expires_at, [
        Put(invite_key(model, code), to_item(row), when=(Absent(),)) for code in codes
    ]


def _unknown() -> Missing:
    return Missing("invite-unknown", "no such invite; ask the operator for a new one")
