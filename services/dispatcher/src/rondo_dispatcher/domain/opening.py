"""T0 and T1: an attempt waits for clients, and opens as soon as enough of them are there."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from msgspec import structs

from rondo_core.errors import Invalid
from rondo_core.events import RoundOpened, RoundRequested
from rondo_core.keys import GATES, assign_key, gate_key, head_key, round_key, run_key
from rondo_core.model_rows import ClientRow
from rondo_core.rows import AssignRow, GateRow, RoundRow, RoundState, RunRow, VersionRow, to_item
from rondo_core.run_store import MAX_CHANGES, Absent, Change, Check, Equals, OneOf, Put, Update
from rondo_core.strategies import root_client
from rondo_dispatcher.domain.attempts import Attempt, AttemptId, unchanged
from rondo_dispatcher.domain.clients import at_work, available, choose, training_seed
from rondo_dispatcher.domain.plan import Abort, Plan, row_update

__all__ = ["Surroundings", "begin", "pending_row", "start"]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What decides, beside its own row, whether an attempt may open.

    Attributes:
        head: N of the run's newest version.
        previous: how the attempt before stands; None for the first, or when there is none.
        clients: all that are enrolled for the model.
        before: the attempt that clients may still be at work for, where their updates count later
            (FedBuff).
        waiting: clients whose late updates are entered into the attempt already (FedBuff).
    """

    run: RunRow
    head: int
    previous: RoundState | None
    clients: tuple[ClientRow, ...]
    before: Attempt | None = None
    waiting: frozenset[str] = frozenset()


def pending_row(
    request: RoundRequested, run: RunRow, base: VersionRow, *, now: datetime
) -> RoundRow:
    """Return the attempt as it waits for clients."""
    return RoundRow(
        run_id=run.run_id,
        model=run.model,
        spec=run.spec,
        layout=run.layout,
        round=request.state.round,
        attempt=request.state.attempt,
        state="PENDING",
        base=base.version,
        base_sha256=base.sha256,
        strategy=run.strategy,
        parameters=run.parameters,
        encoding=run.encoding,
        optimizer_state=base.optimizer_state,
        target=run.target,
        quorum=run.quorum,
        start_deadline_at=now + timedelta(seconds=run.start_deadline_seconds),
        task_tokens=frozenset({request.task_token}),
        active="round",
    )


def begin(row: RoundRow, around: Surroundings, *, now: datetime) -> Plan:
    """Return T0 for a new row, together with T1 when enough clients are there already.

    Both in one commit is what T0 and T1 are when nothing happens between them, and costs one less.

    Raises:
        Invalid: there was no attempt before this one, which is not the first.
    """
    if row.attempt > 1 and around.previous is None:
        raise Invalid(
            f"attempt {row.attempt} of round {row.round} of run {row.run_id} was asked for,"
            f" but there is no attempt {row.attempt - 1}"
        )
    opened = _opened(row, around, now)
    if opened is not None:
        return _open(
            Put(AttemptId.of(row).key, to_item(opened), (Absent(),)), opened, around.run, now
        )
    return Plan(
        (
            Put(AttemptId.of(row).key, to_item(row), (Absent(),)),
            Check(head_key(row.run_id), (Equals("version", row.base),)),
            Check(run_key(row.run_id), (OneOf("state", ("RUNNING", "PAUSED")),)),
        )
    )


def start(row: RoundRow, around: Surroundings, *, now: datetime) -> Plan | Abort | None:
    """Return what comes next for a PENDING attempt: T1, an end, or None to go on waiting."""
    if around.head > row.base:
        return Abort(f"round {row.round} has its version already")
    if around.run.state not in {"RUNNING", "PAUSED"}:
        return Abort(f"the run is {around.run.state}")
    opened = _opened(row, around, now)
    if opened is not None:
        return _open(
            row_update(AttemptId.of(row).key, row, opened, when=unchanged(row)),
            opened,
            around.run,
            now,
        )
    if _may_open(row, around) and _overdue(row, now):
        return Abort(_missing(row, around, now))
    return None


def _missing(row: RoundRow, around: Surroundings, now: datetime) -> str:
    there = len(_free(around, now)) + len(_taken(around, now))
    when = "when the start deadline passed"
    if there >= row.quorum:
        return f"the root client {_root(around)!r} was not there {when}"
    return (
        f"not enough clients: {there} of {row.target} were there {when},"
        f" and the quorum is {row.quorum}"
    )


def _may_open(row: RoundRow, around: Surroundings) -> bool:
    """Two open attempts of one round would lose acknowledged updates."""
    in_turn = row.attempt == 1 or around.previous == "ABORTED"
    return in_turn and around.run.state == "RUNNING"


def _overdue(row: RoundRow, now: datetime) -> bool:
    return row.start_deadline_at is not None and now >= row.start_deadline_at


def _opened(row: RoundRow, around: Surroundings, now: datetime) -> RoundRow | None:
    """Return the attempt as it opens, or None while there are too few clients for it.

    Who is at work for an earlier attempt takes a place: what comes of that counts in this one, as
    does what came of it already.
    """
    free, taken = _free(around, now), _taken(around, now)
    enough, root = row.quorum if _overdue(row, now) else row.target, _root(around)
    if not _may_open(row, around) or len(free) + len(taken) < enough or root not in {None, *free}:
        return None
    count = max(row.target - len(taken), 0)
    chosen = choose(free, run_id=row.run_id, round_=row.round, count=count, always=root)
    return structs.replace(
        row,
        state="OPEN",
        clients=tuple(sorted((*chosen, *taken))),
        at_work=_busy(around, now),
        opened_at=now,
        deadline_at=now + timedelta(seconds=around.run.deadline_seconds),
    )


def _busy(around: Surroundings, now: datetime) -> dict[str, datetime]:
    return {} if around.before is None else at_work(around.before, now=now)


def _taken(around: Surroundings, now: datetime) -> frozenset[str]:
    """Return who has a place without being drawn, whether it asks for work or not."""
    return around.waiting.union(_busy(around, now))


def _free(around: Surroundings, now: datetime) -> list[str]:
    taken = _taken(around, now)
    return [client for client in available(around.clients, now=now) if client not in taken]


def _root(around: Surroundings) -> str | None:
    return root_client(around.run.strategy, around.run.parameters)


def _open(change: Put | Update, opened: RoundRow, run: RunRow, now: datetime) -> Plan:
    of = AttemptId.of(opened)
    step: list[Change] = [
        change,
        Check(head_key(of.run_id), (Equals("version", opened.base),)),
        Check(run_key(of.run_id), (Equals("state", "RUNNING"),)),
    ]
    if of.attempt > 1:
        before = round_key(of.run_id, of.round, of.attempt - 1)
        step.append(Check(before, (Equals("state", "ABORTED"),)))
    gate = to_item(GateRow(state="OPEN"))
    step += [Put(gate_key(*of, k), gate) for k in range(GATES)]
    assignments = _assignments(opened, run)
    event = RoundOpened(
        event_id=of.event_id("RoundOpened"),
        run_id=of.run_id,
        round=of.round,
        attempt=of.attempt,
        occurred_at=now,
        base=opened.base,
        clients=len(opened.clients),
        deadline_at=now + timedelta(seconds=run.deadline_seconds),
    )
    if len(step) + len(assignments) + 1 <= MAX_CHANGES:
        return Plan((*step, *assignments), (event,))
    return Plan(tuple(step), (event,), before=assignments)


def _assignments(opened: RoundRow, run: RunRow) -> tuple[Change, ...]:
    """Without conditions: all who write one write the same, and only ``clients`` counts."""
    return tuple(
        Put(
            assign_key(*AttemptId.of(opened), client),
            to_item(
                AssignRow(
                    client_id=client,
                    seed=training_seed(opened.run_id, opened.round, client),
                    training=run.training,
                )
            ),
        )
        for client in opened.clients
    )
