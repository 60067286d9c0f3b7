"""What the watcher looks at, and what a waiting client is given of it."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from rondo_core.client_wire import Assignment, BaseVersion
from rondo_core.errors import Invalid, NotFound
from rondo_core.keys import ASSIGN_PREFIX, GATE_PREFIX, UPDATE_PREFIX, attempt_pk, run_key
from rondo_core.model_store import UploadLinks, slot_key, weights_key
from rondo_core.rows import (
    AssignRow,
    GateRow,
    RoundRow,
    RunRow,
    UpdateRow,
    VersionRow,
    from_item,
)
from rondo_core.run_store import Item, RunStore
from rondo_core.strategies import keeps_control, needs_steps
from rondo_gateway.domain.attempts import AttemptId, attempt_of
from rondo_gateway.domain.snapshot import Interests, OpenAttempt, Snapshot
from rondo_gateway.handlers.archive import Archive

__all__ = ["assignment", "observe"]

LINK_SECONDS = 900
RUN_LOOK_SECONDS = 0.5
"""How often a run without an active attempt is looked at: it is between rounds, or over."""


def observe(
    interests: Interests, before: Snapshot, *, store: RunStore, archive: Archive, now: datetime
) -> Snapshot:
    """Look at what is waited for, however many wait: one index query, and one query per attempt.

    The index may be behind: an attempt is handed out after a strong read of its gates, which is
    done once. An index that still shows an attempt which is sealed costs a client a refused
    declaration, nothing else.

    Raises:
        Unavailable: the table did not answer.
    """
    rounds, unreadable = _active_rounds(store) if interests.work else ([], set())
    active_runs = frozenset(row.run_id for row in rounds)
    loaded: dict[AttemptId, dict[str, UpdateRow]] = {}
    attempts: dict[AttemptId, OpenAttempt] = {}
    for round_ in [row for row in rounds if row.state == "OPEN"]:
        where = attempt_of(round_)
        try:
            known = before.attempts.get(where)
            known = known or _load(round_, loaded, store=store, archive=archive)
        except (Invalid, NotFound) as exc:
            unreadable.add(f"{where}: {exc}")
            continue
        if known is not None:
            attempts[where] = known
    kept = {where: rows for where, rows in before.updates.items() if where in attempts}
    seen = {where: _updates(where, store=store) for where in interests.verdicts}
    due = _runs_to_read(interests.runs - active_runs, before, now=now)
    return Snapshot(
        active_runs=active_runs,
        attempts=attempts,
        updates=kept | loaded | seen,
        runs={**before.runs, **{run_id: _run(run_id, store=store) for run_id in due}},
        unreadable=frozenset(unreadable),
        looked_at={**before.looked_at, **dict.fromkeys(due, now)},
    )


def assignment(attempt: OpenAttempt, client_id: str, *, links: UploadLinks) -> Assignment:
    """Spell out what a client is asked to do, with links to the base version and what goes with it.

    The control variate's file has the layout, and so the size, of the version.
    """
    assigned, base, round_ = attempt.assigned[client_id], attempt.base, attempt.round
    file = _linked(base, base.sha256, weights_key(base.sha256), links=links)
    controlled = keeps_control(round_.strategy, round_.parameters)
    control = None
    if controlled and base.control is not None:
        control = _linked(base, base.control, slot_key(base.control), links=links)
    return Assignment(
        run_id=attempt.where.run_id,
        round=attempt.where.round,
        attempt=attempt.where.attempt,
        rounds=attempt.run.rounds,
        model=round_.model,
        spec=round_.spec,
        layout=round_.layout,
        base=file,
        seed=assigned.seed,
        training=assigned.training,
        deadline_at=attempt.deadline_at,
        metrics=base.metrics,
        needs_steps=needs_steps(round_.strategy, round_.parameters),
        encoding=round_.encoding,
        controlled=controlled,
        control=control,
    )


def _linked(base: VersionRow, sha256: str, key: str, *, links: UploadLinks) -> BaseVersion:
    url = links.for_download(key, expires_seconds=LINK_SECONDS)
    return BaseVersion(version=base.version, sha256=sha256, size=base.size, url=url)


def _active_rounds(store: RunStore) -> tuple[list[RoundRow], set[str]]:
    """Return the rounds of the index, and what is wrong with rows that are none."""
    rounds, unreadable = [], set()
    for item in store.active("round"):
        try:
            rounds.append(from_item(item, RoundRow))
        except Invalid as exc:
            unreadable.add(str(exc))
    return rounds, unreadable


def _load(
    round_: RoundRow,
    loaded: dict[AttemptId, dict[str, UpdateRow]],
    *,
    store: RunStore,
    archive: Archive,
) -> OpenAttempt | None:
    """Read all rows of an attempt; None when it is not open after all.

    Its gates are as open as it is, and what else is told of it is the same as long as it is open.
    """
    where = attempt_of(round_)
    items = store.query(attempt_pk(*where))
    gates = {from_item(item, GateRow).state for item in _of_kind(items, GATE_PREFIX)}
    if gates != {"OPEN"} or round_.deadline_at is None:
        return None
    assigned = (from_item(item, AssignRow) for item in _of_kind(items, ASSIGN_PREFIX))
    loaded[where] = _by_client(_of_kind(items, UPDATE_PREFIX))
    return OpenAttempt(
        where=where,
        round=round_,
        run=archive.run(where.run_id),
        base=archive.version(where.run_id, round_.base),
        assigned={row.client_id: row for row in assigned if row.client_id in round_.clients},
        deadline_at=round_.deadline_at,
    )


def _updates(where: AttemptId, *, store: RunStore) -> dict[str, UpdateRow]:
    return _by_client(store.query(attempt_pk(*where), UPDATE_PREFIX))


def _of_kind(items: Iterable[Item], prefix: str) -> Iterable[Item]:
    return (item for item in items if str(item["SK"]).startswith(prefix))


def _by_client(items: Iterable[Item]) -> dict[str, UpdateRow]:
    rows = (from_item(item, UpdateRow) for item in items)
    return {row.client_id: row for row in rows}


def _runs_to_read(wanted: frozenset[str], before: Snapshot, *, now: datetime) -> frozenset[str]:
    """Leave out the runs that were read a moment ago."""
    moment = timedelta(seconds=RUN_LOOK_SECONDS)
    recent = {run_id for run_id, at in before.looked_at.items() if now - at < moment}
    return wanted - recent


def _run(run_id: str, *, store: RunStore) -> RunRow | None:
    item = store.get(run_key(run_id))
    return None if item is None else from_item(item, RunRow)
