"""Take an attempt as far as it can go now. Hints, sweeps and two dispatchers all end up here."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial

from rondo_core.events import UpdateAccepted, UpdateRejected, VersionCommitted
from rondo_core.keys import attempts_of, client_key, head_key, round_key, run_key
from rondo_core.late_updates import Place, find_place
from rondo_core.manifest import encode_manifest
from rondo_core.model_rows import ClientRow
from rondo_core.model_store import manifest_key
from rondo_core.rows import HeadRow, RoundRow, RunRow, from_item
from rondo_core.strategies import buffering
from rondo_core.workflow import ROUND_ABORTED
from rondo_dispatcher.domain.attempts import Attempt, AttemptId, read_attempt
from rondo_dispatcher.domain.closing import (
    Seal,
    close,
    manifest_of,
    refer,
    require_all_counted,
    seal,
    seal_and_refer,
)
from rondo_dispatcher.domain.ending import (
    Answer,
    Fail,
    Succeed,
    abort,
    all_accepted,
    answer,
    settle,
)
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
    look = partial(_look, of, ports)
    look_until_done(partial(look, hopeful=False), ports=ports, hopeful=partial(look, hopeful=True))


def _look(of: AttemptId, ports: Ports, *, hopeful: bool) -> bool:
    """Read the attempt and make at most one step; return whether another may follow at once."""
    row = require(ports.store, of.key, RoundRow)
    match row.state:
        case "PENDING":
            return _pending(row, ports)
        case "OPEN":
            return _open(row, ports, hopeful=hopeful)
        case "SEALED":
            return _sealed(row, ports)
        case "COMMITTED" | "ABORTED":
            return _over(row, ports)


def _pending(row: RoundRow, ports: Ports) -> bool:
    run = require(ports.store, run_key(row.run_id), RunRow)
    head = require(ports.store, head_key(row.run_id), HeadRow).version
    around = surroundings(AttemptId.of(row), run, head, ports=ports)
    around = replace(around, waiting=_waiting(row, ports))
    decision = start(row, around, now=ports.clock.now())
    if isinstance(decision, Plan):
        save(decision, ports=ports)
    elif decision is not None:
        _abort(row, decision, ports)
    return decision is not None


def _waiting(row: RoundRow, ports: Ports) -> frozenset[str]:
    """Read whose late updates came before the attempt opened; they are judged when it does."""
    if buffering(row.strategy, row.parameters) is None:
        return frozenset()
    updates = ports.store.query(*AttemptId.of(row).updates)
    return read_attempt(row, updates).reported


def _open(row: RoundRow, ports: Ports, *, hopeful: bool) -> bool:
    attempt = read_attempt(row, ports.store.query(*AttemptId.of(row).updates))
    now = ports.clock.now()
    match close(attempt, now=now):
        case None:
            return False
        case Abort() as decision:
            _abort(row, decision, ports)
        case Seal() if hopeful:
            save(seal_and_refer(attempt, _put_manifest(attempt, ports), now=now), ports=ports)
            return False
        case Seal():
            save(seal(row, now=now), ports=ports)
    return True


def _sealed(row: RoundRow, ports: Ports) -> bool:
    if row.reason is not None:  # the aggregator's note that it can never be combined
        _abort(row, Abort(row.reason), ports)
        return True
    if row.manifest is None:
        attempt = read_attempt(row, ports.store.query(*AttemptId.of(row).children))
        require_all_counted(attempt)
        manifest = _put_manifest(attempt, ports)
        save(refer(attempt, manifest, now=ports.clock.now()), ports=ports)
    return False


def _put_manifest(attempt: Attempt, ports: Ports) -> str:
    """Put the object first, so that no row ever names a manifest that is not there."""
    data, sha256 = encode_manifest(manifest_of(attempt))
    ports.model_store.put(manifest_key(sha256), data)
    return sha256


def _over(row: RoundRow, ports: Ports) -> bool:
    """Tokens are answered first and forgotten then: a crash between answers them twice."""
    if row.task_tokens:
        head = row.base + 1
        if row.state == "ABORTED":
            head = require(ports.store, head_key(row.run_id), HeadRow).version
        give(answer(row, head=head), row.task_tokens, ports=ports)
    plan = settle(row, answered=row.task_tokens, awaits_verdict=_awaits_verdict(row, ports))
    if plan is not None:
        save(plan, ports=ports)
    return False


def _awaits_verdict(row: RoundRow, ports: Ports) -> bool:
    """Tell whether an update of a terminal attempt is not judged yet, or one may still be entered.

    A late update waits in the newest attempt of its run, so that is kept until the next exists.
    Whether it does is read before the updates: none is entered after that.
    """
    if buffering(row.strategy, row.parameters) is None:
        if all_accepted(row):
            return False
    else:
        place = find_place(row.run_id, store=ports.store)
        if isinstance(place, Place) and place.where == (row.round, row.attempt):
            return True
    updates = ports.store.query(*AttemptId.of(row).updates)
    return bool(read_attempt(row, updates).reported)


def _abort(row: RoundRow, decision: Abort, ports: Ports) -> None:
    run = require(ports.store, run_key(row.run_id), RunRow)
    head = require(ports.store, head_key(row.run_id), HeadRow).version
    now = ports.clock.now()
    save(abort(row, decision.reason, run=run, head=head, now=now), ports=ports)


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
        before=_before(of, run, previous, ports=ports),
    )


def _before(
    of: AttemptId, run: RunRow, previous: RoundRow | None, *, ports: Ports
) -> Attempt | None:
    """Read the attempt that clients may be at work for: the one before, or the last round's."""
    if buffering(run.strategy, run.parameters) is None:
        return None
    if previous is None or not previous.clients:
        items = ports.store.query(*attempts_of(of.run_id, of.round - 1))
        made = (from_item(item, RoundRow) for item in items)
        previous = next((row for row in made if row.state == "COMMITTED"), None)
    if previous is None:
        return None
    return read_attempt(previous, ports.store.query(*AttemptId.of(previous).updates))


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
