"""Take an attempt as far as it can go now. Hints, sweeps and two dispatchers all end up here."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial

from rondo_core.errors import NotFound
from rondo_core.events import UpdateAccepted, UpdateRejected, VersionCommitted
from rondo_core.manifest import encode_manifest
from rondo_core.model_store import manifest_key
from rondo_core.rows import (
    ClientRow,
    HeadRow,
    RoundRow,
    RoundState,
    RunRow,
    VersionRow,
    client_key,
    from_item,
    head_key,
    round_key,
    run_key,
    version_key,
)
from rondo_core.workflow import ROUND_ABORTED
from rondo_dispatcher.domain.attempts import Attempt, AttemptId, read_attempt
from rondo_dispatcher.domain.closing import close, manifest_of, reference
from rondo_dispatcher.domain.ending import Answer, Fail, Succeed, abort, answer, settle
from rondo_dispatcher.domain.opening import Surroundings, start
from rondo_dispatcher.domain.plan import Abort, Plan
from rondo_dispatcher.handlers.ports import Ports, find, require
from rondo_dispatcher.handlers.saving import look_until_done, save

__all__ = ["advance", "give", "on_hints", "surroundings"]

Hint = UpdateAccepted | UpdateRejected | VersionCommitted


def on_hints(events: Sequence[Hint], *, ports: Ports) -> None:
    """Look once at each attempt that the events tell of; their truth is the rows.

    Raises:
        NotFound: there is no such attempt.
        CommitConflict: others were faster, too often in a row.
        Unavailable: a port did not answer.
    """
    for of in dict.fromkeys(AttemptId(one.run_id, one.round, one.attempt) for one in events):
        advance(of, ports=ports)


def advance(of: AttemptId, *, ports: Ports) -> None:
    """Make every step of an attempt that is due. Safe to call at any time, also twice at once.

    Raises:
        NotFound: there is no such attempt.
        CommitConflict: others were faster, too often in a row.
        Unavailable: a port did not answer.
    """
    look_until_done(partial(_look, of, ports), ports=ports)


def _look(of: AttemptId, ports: Ports) -> bool:
    """Read the attempt and make at most one step; return whether another may follow at once."""
    attempt = read_attempt(ports.store.query(of.pk, of.prefix))
    if attempt is None:
        raise NotFound(f"row {'/'.join(of.key)}")
    return _TURNS[attempt.row.state](attempt, ports)


def _pending(attempt: Attempt, ports: Ports) -> bool:
    row = attempt.row
    run = require(ports.store, run_key(row.run_id), RunRow)
    head = require(ports.store, head_key(row.run_id), HeadRow).version
    around = surroundings(AttemptId.of(row), run, head, ports=ports)
    return _carry_out(start(row, around, now=ports.clock.now()), row, ports)


def _open(attempt: Attempt, ports: Ports) -> bool:
    return _carry_out(close(attempt, now=ports.clock.now()), attempt.row, ports)


def _sealed(attempt: Attempt, ports: Ports) -> bool:
    """The object is put first, so that the row never names a manifest that is not there."""
    row = attempt.row
    if row.manifest is not None:
        return False
    run = require(ports.store, run_key(row.run_id), RunRow)
    base = require(ports.store, version_key(row.run_id, row.base), VersionRow)
    manifest = manifest_of(attempt, run, base)
    data, sha256 = encode_manifest(manifest)
    ports.model_store.put(manifest_key(sha256), data)
    updates, now = len(manifest.updates), ports.clock.now()
    save(reference(row, sha256, updates=updates, now=now), ports=ports)
    return False


def _over(attempt: Attempt, ports: Ports) -> bool:
    """Tokens are answered first and forgotten then: a crash between answers them twice."""
    row = attempt.row
    if row.task_tokens:
        head = row.base + 1
        if row.state == "ABORTED":
            head = require(ports.store, head_key(row.run_id), HeadRow).version
        give(answer(row, head=head), row.task_tokens, ports=ports)
    plan = settle(attempt, answered=row.task_tokens)
    if plan is not None:
        save(plan, ports=ports)
    return False


_TURNS: dict[RoundState, Callable[[Attempt, Ports], bool]] = {
    "PENDING": _pending,
    "OPEN": _open,
    "SEALED": _sealed,
    "COMMITTED": _over,
    "ABORTED": _over,
}


def _carry_out(decision: Plan | Abort | None, row: RoundRow, ports: Ports) -> bool:
    if decision is None:
        return False
    if isinstance(decision, Abort):
        run = require(ports.store, run_key(row.run_id), RunRow)
        head = require(ports.store, head_key(row.run_id), HeadRow).version
        now = ports.clock.now()
        decision = abort(row, decision.reason, run=run, head=head, now=now)
    save(decision, ports=ports)
    return True


def surroundings(of: AttemptId, run: RunRow, head: int, *, ports: Ports) -> Surroundings:
    """Read what decides whether an attempt may open."""
    previous: RoundRow | None = None
    if of.attempt > 1:
        before = round_key(of.run_id, of.round, of.attempt - 1)
        previous = find(ports.store, before, RoundRow)
    clients = ports.store.query(*client_key(run.model, ""))
    return Surroundings(
        run=run,
        head=head,
        previous=None if previous is None else previous.state,
        clients=tuple(from_item(item, ClientRow) for item in clients),
    )


def give(told: Answer, tokens: Iterable[str], *, ports: Ports) -> None:
    """Tell waiting tasks how the attempt ended.

    Raises:
        Unavailable: no answer; to be called again.
    """
    for token in sorted(tokens):
        match told:
            case Succeed(version):
                ports.workflow.succeed(token, {"version": version})
            case Fail(reason):
                ports.workflow.fail(token, error=ROUND_ABORTED, cause=reason)
