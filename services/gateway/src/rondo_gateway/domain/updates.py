"""How an update goes from DECLARED to REPORTED, and what repeats and late calls are told.

Writes are optimistic: ``declare_change`` and ``report_change`` hold their conditions, and only when
they fail is the row read back and judged by ``after_conflict``.
"""

import math
from datetime import datetime

import msgspec

from rondo_core.client_wire import Declaration, Entered, Receipt
from rondo_core.events import UpdateSubmitted
from rondo_core.keys import update_key
from rondo_core.rows import RoundRow, UpdateRow, to_item
from rondo_core.run_store import Absent, AnyOf, Equals, Put, Update
from rondo_core.strategies import needs_steps
from rondo_gateway.domain.attempts import AttemptId
from rondo_gateway.domain.refusals import Forbidden, Missing, Refused, Unfit

__all__ = [
    "LATE",
    "check_chosen",
    "check_declaration",
    "declare_change",
    "declared_row",
    "known_update",
    "other_digest",
    "receipt",
    "report_change",
    "reported",
    "update_submitted",
]

LATE = "late"
LARGEST_METRIC = 1e100
MAX_METRIC_NAME = 128


def check_chosen(round_: RoundRow | None, where: AttemptId, client_id: str, model: str) -> RoundRow:
    """Return the attempt if this client of this model was chosen for it.

    Raises:
        Missing: ``not-found``, no such attempt, or one of another model.
        Refused: ``not-open``, clients are not chosen yet.
        Forbidden: ``not-chosen``.
    """
    if round_ is None or round_.model != model:
        raise Missing("not-found", f"there is no attempt {where}")
    if round_.state == "PENDING":
        raise Refused("not-open", f"attempt {where} is PENDING: clients are not chosen yet")
    if client_id not in round_.clients:
        raise Forbidden("not-chosen", f"{client_id} was not chosen for attempt {where}")
    return round_


def check_declaration(body: Declaration, round_: RoundRow, *, size_bytes: int) -> None:
    """Check what a declaration's types do not show.

    Args:
        body: the declaration.
        round_: the attempt that it is for.
        size_bytes: the length of every update of the round.

    Raises:
        Unfit: ``wrong-size``, ``missing-steps`` or ``invalid-metrics``.
    """
    if body.steps is None and needs_steps(round_.strategy, round_.parameters):
        rule = f"strategy {round_.strategy!r} needs the number of local steps - at `$.steps`"
        raise Unfit("missing-steps", rule)
    if body.size != size_bytes:
        wanted = f"an update of this model in {round_.encoding} has {size_bytes}"
        raise Unfit("wrong-size", f"{body.size} bytes; {wanted} - at `$.size`")
    for name, value in body.metrics.items():
        if not 0 < len(name) <= MAX_METRIC_NAME:
            rule = f"a name has 1 to {MAX_METRIC_NAME} characters, not {len(name)}"
            raise Unfit("invalid-metrics", f"{rule} - at `$.metrics`")
        if not math.isfinite(value) or abs(value) > LARGEST_METRIC:
            rule = f"{value} is not a finite number up to {LARGEST_METRIC:g}"
            raise Unfit("invalid-metrics", f"{rule} - at `$.metrics.{name}`")


def declared_row(client_id: str, body: Declaration, *, key: str, now: datetime) -> UpdateRow:
    """Return the row of a declaration; ``key`` is where the bytes will be."""
    return UpdateRow(
        client_id=client_id,
        state="DECLARED",
        sha256=body.sha256,
        size=body.size,
        examples=body.examples,
        metrics=body.metrics,
        steps=body.steps,
        key=key,
        declared_at=now,
    )


def declare_change(where: AttemptId, row: UpdateRow) -> Put:
    """Return the write of a declaration; it may replace another one until that is reported."""
    undecided = AnyOf((Absent(), Equals("state", "DECLARED")))
    return Put(update_key(*where, row.client_id), to_item(row), when=(undecided,))


def report_change(where: AttemptId, client_id: str, sha256: str, *, now: datetime) -> Update:
    """Return the write of a report: DECLARED with this very digest becomes REPORTED."""
    return Update(
        update_key(*where, client_id),
        assign={"state": "REPORTED", "reported_at": msgspec.to_builtins(now)},
        when=(Equals("state", "DECLARED"), Equals("sha256", sha256)),
    )


def known_update(existing: UpdateRow | None, sha256: str, round_: RoundRow) -> UpdateRow:
    """Judge a call whose write was not made: return the row where the call is a repeat.

    Args:
        existing: the client's row as read back.
        sha256: the digest that the call names.
        round_: the attempt, as read before.

    Raises:
        Refused: ``late`` after the seal, for whoever had not reported this digest before;
            ``already-reported`` when another digest was; ``not-declared`` or ``other-digest``
            when a report fits no declaration.
    """
    sealed = round_.state != "OPEN"
    if existing is not None and existing.sha256 == sha256:
        if existing.code != LATE and not (sealed and existing.state == "DECLARED"):
            return existing
    elif existing is not None and existing.state != "DECLARED":
        raise other_digest(existing, sha256)
    if sealed or (existing is not None and existing.code == LATE):
        raise Refused(LATE, _late(round_))
    if existing is None:
        raise Refused("not-declared", f"{sha256} was not declared for this attempt")
    raise other_digest(existing, sha256)


def other_digest(existing: UpdateRow, sha256: str) -> Refused:
    """Return why a call about other bytes than those of the row is refused."""
    if existing.state == "DECLARED":
        return Refused("other-digest", f"{existing.sha256} was declared, not {sha256}")
    rule = f"{existing.sha256} was reported for this attempt, so {sha256} cannot be"
    return Refused("already-reported", rule)


def receipt(where: AttemptId, row: UpdateRow, *, at: AttemptId | None = None) -> Receipt:
    """Say how an update stands.

    Args:
        where: the attempt that the client speaks of.
        row: the update's.
        at: the attempt that it was entered into, where that is another one.
    """
    entered = None
    if at is not None and at != where:
        entered = Entered(round=at.round, attempt=at.attempt, staleness=at.round - where.round)
    return Receipt(
        client_id=row.client_id,
        run_id=where.run_id,
        round=where.round,
        attempt=where.attempt,
        sha256=row.sha256,
        state=row.state,
        code=row.code,
        reason=row.reason,
        entered=entered,
    )


def reported(where: AttemptId, client_id: str, sha256: str) -> Receipt:
    """Say that a report was written just now."""
    return Receipt(
        client_id=client_id,
        run_id=where.run_id,
        round=where.round,
        attempt=where.attempt,
        sha256=sha256,
        state="REPORTED",
    )


def update_submitted(
    where: AttemptId, client_id: str, sha256: str, *, now: datetime
) -> UpdateSubmitted:
    """Return the event of a report; the same report again is the same event."""
    return UpdateSubmitted(
        event_id=f"UpdateSubmitted/{where}/{client_id}",
        run_id=where.run_id,
        occurred_at=now,
        round=where.round,
        attempt=where.attempt,
        client_id=client_id,
        sha256=sha256,
    )


def _late(round_: RoundRow) -> str:
    reason = f" ({round_.reason})" if round_.reason else ""
    what = f"round {round_.round} attempt {round_.attempt}"
    return f"{what} of {round_.run_id} is {round_.state}{reason} and takes no more updates"
