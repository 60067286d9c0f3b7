"""The task ``validate``: read the updates of one batch, judge them, write and tell the verdicts."""

import logging
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Literal

from rondo_aggregator.domain.attempt import Attempt
from rondo_aggregator.domain.verdicts import (
    NO_OBJECT,
    Accepted,
    Rejected,
    Verdict,
    check_declaration,
    known_verdict,
    verdict_event,
)
from rondo_aggregator.handlers.late import move_late
from rondo_aggregator.handlers.ports import Jobs, Objects
from rondo_aggregator.handlers.reading import layout_of, round_of
from rondo_aggregator.handlers.verdicts import late, settle
from rondo_core.bus import Publish
from rondo_core.encodings import UpdateForm, form_of
from rondo_core.errors import NotFound, UpdateInvalid
from rondo_core.late_updates import takes_late
from rondo_core.model_store import ObjectInfo
from rondo_core.rows import RoundRow, UpdateRow, from_item
from rondo_core.run_store import RunStore
from rondo_core.telemetry import Metrics
from rondo_core.update_check import validate_update

__all__ = ["judge_updates"]

log = logging.getLogger(__name__)


def judge_updates(
    attempt: Attempt,
    clients: Collection[str],
    *,
    store: RunStore,
    objects: Objects,
    jobs: Jobs,
    publish: Publish,
    now: datetime,
    metrics: Metrics,
) -> Literal["judged", "nothing"]:
    """Accept or reject the updates of some clients (T2), then publish the hints in one call.

    Where the run takes late updates, those of a round that is not open go on to the newest one.
    What was judged before is only told again: the first hint may be what a crash swallowed.

    Raises:
        Unavailable: a store or the bus did not answer; the sweep asks again.
    """
    round_ = round_of(attempt, store)
    if round_ is None or round_.state == "PENDING":
        return "nothing"
    rows = _updates_of(attempt, clients, store)
    known = [verdict for row in rows if (verdict := known_verdict(row)) is not None]
    waiting = [row for row in rows if row.state in {"DECLARED", "REPORTED"}]
    buffered = takes_late(round_)
    if buffered and round_.state != "OPEN":
        found: Sequence[Verdict] = move_late(attempt, waiting, store=store, jobs=jobs)
    else:
        with metrics.timed("rondo_validate_seconds"):
            found = _examine_all(round_, waiting, objects)
    settled = settle(attempt, found, store=store, takes_late=buffered)
    for verdict in settled:
        _tell(attempt, verdict, metrics)
    if not (verdicts := [*known, *settled]):
        return "nothing"
    publish(*(verdict_event(attempt, verdict, now) for verdict in verdicts))
    return "judged"


def _updates_of(attempt: Attempt, clients: Collection[str], store: RunStore) -> list[UpdateRow]:
    """Read the updates of these clients, all in one query."""
    items = {str(item["SK"]): item for item in store.query(*attempt.updates)}
    keys = (attempt.update_key(client).sk for client in sorted(clients))
    return [from_item(items[key], UpdateRow) for key in keys if key in items]


def _examine_all(round_: RoundRow, rows: list[UpdateRow], objects: Objects) -> list[Verdict]:
    if round_.state != "OPEN":
        return [late(row) for row in rows if row.state == "REPORTED"]
    if not rows:
        return []
    form = form_of(layout_of(round_, objects), round_.encoding)
    found = (_examine(row, round_, form, objects) for row in rows)
    return [verdict for verdict in found if verdict is not None]


def _examine(
    row: UpdateRow, round_: RoundRow, form: UpdateForm, objects: Objects
) -> Verdict | None:
    """Judge one update; None while it is declared but not uploaded."""
    try:
        check_declaration(row, round_, form)
        info = objects.head(row.key)
        if info is None:
            declared = row.state == "DECLARED"
            return None if declared else Rejected(row, NO_OBJECT, "reported, but not in the store")
        _check_size(row, info)
        data = objects.whole(row.key, size=row.size, version=info.version)
        validate_update(data, form=form, size=row.size, sha256=row.sha256)
    except UpdateInvalid as exc:
        return Rejected(row, exc.code, exc.rule)
    except NotFound as exc:
        return Rejected(row, NO_OBJECT, str(exc))
    return Accepted(row, info.version)


def _check_size(row: UpdateRow, info: ObjectInfo) -> None:
    if info.size != row.size:
        raise UpdateInvalid("wrong-size", f"{info.size} bytes stored, {row.size} declared")


def _tell(attempt: Attempt, verdict: Verdict, metrics: Metrics) -> None:
    code = verdict.code if isinstance(verdict, Rejected) else "accepted"
    metrics.count("rondo_updates_judged_total", outcome=code)
    log.info(
        "update judged",
        extra={
            "run_id": attempt.run_id,
            "round": attempt.round,
            "attempt": attempt.attempt,
            "client_id": verdict.row.client_id,
            "outcome": code,
            "reason": verdict.reason if isinstance(verdict, Rejected) else "",
        },
    )
