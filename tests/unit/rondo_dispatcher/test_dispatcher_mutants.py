"""One test for each condition without which the protocol breaks; each is named after the mutant.

The other mutants of docs/protocol.md are conditions of the aggregator's and gateway's writes.
"""

import pytest
from msgspec import structs

from rondo_core.errors import Conflict, Unavailable
from rondo_core.events import RoundAborted, RoundOpened, RoundSealed
from rondo_core.keys import gate_key, gate_of, head_key, round_key, run_key, version_key
from rondo_core.rows import HeadRow, to_item
from rondo_core.run_store import CommitConflict, Delete, Key, Put, Update
from rondo_dispatcher.domain.attempts import Attempt, AttemptId, read_attempt
from rondo_dispatcher.domain.closing import close, manifest_of, refer, seal, seal_and_refer
from rondo_dispatcher.domain.ending import abort, settle
from rondo_dispatcher.domain.opening import Surroundings, begin, start
from rondo_dispatcher.domain.plan import Abort, Plan
from rondo_dispatcher.domain.runs import new_run
from rondo_dispatcher.handlers.advancing import surroundings as read_surroundings
from rondo_dispatcher.handlers.saving import save
from tests.unit.rondo_dispatcher import stand_ins
from tests.unit.rondo_dispatcher.world import RUN, START, World, request


def opened_by_another(world: World) -> tuple[Plan, Plan]:
    """Return T0+T1 and T1 of a second dispatcher that read before the first one opened."""
    world.begin("ann")
    world.poll("ann", "bob")
    pending = world.row()
    around = surroundings(world)
    late_begin = begin(pending, around, now=START)
    late_start = start(pending, around, now=START)
    assert isinstance(late_start, Plan)
    return late_begin, late_start


def surroundings(world: World) -> Surroundings:
    return read_surroundings(AttemptId(RUN, 1, 1), world.run(), world.head(), ports=world.ports)


def read(world: World) -> Attempt:
    """Return the attempt as a dispatcher reads it now."""
    return read_attempt(world.row(), world.store.query(f"RUN#{RUN}#ROUND#000001#01"))


def test_mutant_absent_at_t0_and_t1_in_one(world: World) -> None:
    late_begin, _ = opened_by_another(world)
    world.sweep()
    before = world.row()

    with pytest.raises(CommitConflict):
        save(late_begin, ports=world.ports)

    assert world.row() == before
    assert len(world.published(RoundOpened)) == 1


def test_mutant_absent_at_t0(world: World) -> None:
    """A dispatcher that knew of too few clients comes when another has opened the round."""
    world.begin("ann")
    late = begin(world.row(), surroundings(world), now=START)
    assert late.events == ()
    world.poll("ann", "bob")
    world.sweep()

    with pytest.raises(CommitConflict):
        save(late, ports=world.ports)

    assert world.row().state == "OPEN"


def test_mutant_pending_at_t1_when_another_opened(world: World) -> None:
    _, late_start = opened_by_another(world)
    world.poll("eve")
    world.sweep()
    before = world.row()
    world.accept("ann")

    with pytest.raises(CommitConflict) as caught:
        save(late_start, ports=world.ports)

    assert caught.value.keys == (round_key(RUN, 1, 1),)
    assert world.row() == before
    assert (world.store.get(gate_key(RUN, 1, 1, gate_of("ann"))) or {})["n"] == 1


def test_mutant_the_state_condition_at_t9_from_pending(world: World) -> None:
    """One dispatcher saw the start deadline pass; meanwhile the other opened the round."""
    world.begin("ann")
    late = abort(world.row(), "too few", run=world.run(), head=0, now=START)
    world.poll("ann", "bob")
    world.sweep()

    with pytest.raises(CommitConflict):
        save(late, ports=world.ports)

    assert (world.row().state, world.gates()) == ("OPEN", {"OPEN"})


def test_mutant_pending_at_t1(world: World) -> None:
    _, late_start = opened_by_another(world)
    world.clock.advance(50)
    world.store.commit(Update(run_key(RUN), assign={"quorum": 2}))
    row = world.row()
    save(abort(row, "given up", run=world.run(), head=0, now=world.now), ports=world.ports)

    with pytest.raises(CommitConflict):
        save(late_start, ports=world.ports)

    assert world.row().state == "ABORTED"
    assert world.gates() == {None}


def test_mutant_head_is_base_at_t1(world: World) -> None:
    _, late_start = opened_by_another(world)
    world.store.commit(Put(head_key(RUN), to_item(HeadRow(version=1))))

    with pytest.raises(CommitConflict) as caught:
        save(late_start, ports=world.ports)

    assert caught.value.keys == (head_key(RUN),)
    assert world.row().state == "PENDING"


def test_mutant_head_is_base_at_t0(world: World) -> None:
    world.register()
    world.handle(request())
    world.begin("ann")
    row, around = world.row(), surroundings(world)
    world.store.commit(
        Delete(round_key(RUN, 1, 1)), Put(head_key(RUN), to_item(HeadRow(version=1)))
    )

    with pytest.raises(CommitConflict) as caught:
        save(begin(row, around, now=START), ports=world.ports)

    assert caught.value.keys == (head_key(RUN),)


@pytest.mark.parametrize("state", ["PAUSED", "CANCELLED", "FAILED"])
def test_mutant_meta_running_at_t1(world: World, state: str) -> None:
    _, late_start = opened_by_another(world)
    world.store.commit(Update(run_key(RUN), assign={"state": state}))

    with pytest.raises(CommitConflict) as caught:
        save(late_start, ports=world.ports)

    assert caught.value.keys == (run_key(RUN),)
    assert world.row().state == "PENDING"


def test_mutant_meta_running_at_t0(world: World) -> None:
    world.begin("ann")
    row, around = world.row(), surroundings(world)
    world.store.commit(
        Delete(round_key(RUN, 1, 1)), Update(run_key(RUN), assign={"state": "CANCELLED"})
    )

    with pytest.raises(CommitConflict) as caught:
        save(begin(row, around, now=START), ports=world.ports)

    assert caught.value.keys == (run_key(RUN),)


def test_mutant_attempt_before_aborted_at_t1_with_a_state_machine_that_asks_too_early(
    world: World,
) -> None:
    world.begin("ann", "bob")
    acknowledged = world.accept("ann")

    world.hear(world.asked(attempt=2))
    world.sweep()

    assert (world.row(1, 1).state, world.row(1, 2).state) == ("OPEN", "PENDING")
    world.hear(*acknowledged, *world.accept("bob"))
    world.commit()
    world.sweep()
    assert (world.row(1, 1).state, world.row(1, 2).state) == ("COMMITTED", "ABORTED")
    assert world.row(1, 2).reason == "round 1 has its version already"
    assert world.run().state == "RUNNING"
    assert world.head() == 1


def test_mutant_attempt_before_aborted_is_a_condition_and_not_only_a_decision(
    world: World,
) -> None:
    world.begin("ann", "bob")
    world.hear(world.asked(attempt=2))
    believed = Surroundings(
        run=world.run(), head=0, previous="ABORTED", clients=surroundings(world).clients
    )
    too_early = start(world.row(1, 2), believed, now=START)
    assert isinstance(too_early, Plan)

    with pytest.raises(CommitConflict) as caught:
        save(too_early, ports=world.ports)

    assert caught.value.keys == (round_key(RUN, 1, 1),)
    assert world.row(1, 2).state == "PENDING"


def test_mutant_attempt_2_waits_and_opens_when_attempt_1_is_aborted(world: World) -> None:
    world.begin("ann", "bob", quorum=2)
    world.hear(world.asked(attempt=2))
    world.clock.advance(100)
    world.poll("ann", "bob")

    world.sweep()
    world.sweep()

    assert (world.row(1, 1).state, world.row(1, 2).state) == ("ABORTED", "OPEN")


def test_mutant_sealing_without_the_gates(world: World) -> None:
    world.begin("ann", "bob", "eve", target=3, quorum=2)
    world.accept("ann", "bob")
    stand_ins.report(world.store, (RUN, 1, 1), "eve", now=START)
    world.clock.advance(100)
    world.sweep()

    with pytest.raises(CommitConflict) as caught:
        stand_ins.accept(world.store, (RUN, 1, 1), "eve", now=START)

    assert gate_key(RUN, 1, 1, gate_of("eve")) in caught.value.keys
    assert [event.updates for event in world.published(RoundSealed)] == [2]


def test_mutant_gate_open_at_t3(world: World) -> None:
    """Where one gate is not open, nothing is sealed: the row and its gates move together."""
    world.begin("ann", "bob")
    hints = world.accept("ann", "bob")
    gate = gate_key(RUN, 1, 1, 3)
    world.store.commit(Update(gate, assign={"state": "CLOSED"}))

    with pytest.raises(CommitConflict) as caught:
        world.handle(*hints)

    assert caught.value.keys == (gate,)
    assert world.row().state == "OPEN"


def test_mutant_gate_as_read_at_t9(world: World) -> None:
    world.begin("ann", "bob")
    late = abort(world.row(), "x", run=world.run(), head=0, now=START)
    gate = gate_key(RUN, 1, 1, 3)
    world.store.commit(Update(gate, assign={"state": "SEALED"}))

    with pytest.raises(CommitConflict) as caught:
        save(late, ports=world.ports)

    assert caught.value.keys == (gate,)
    assert world.row().state == "OPEN"


def test_mutant_terminal_when_a_token_is_forgotten(world: World) -> None:
    world.begin("ann", "bob")
    believed = structs.replace(world.row(), state="ABORTED")
    plan = settle(believed, answered=believed.task_tokens, awaits_verdict=False)
    assert plan is not None

    with pytest.raises(CommitConflict):
        save(plan, ports=world.ports)

    assert world.row().task_tokens == believed.task_tokens


def test_mutant_open_at_t3(world: World) -> None:
    world.begin("ann", "bob", quorum=2)
    world.accept("ann", "bob")
    attempt = read(world)
    save(abort(attempt.row, "x", run=world.run(), head=0, now=START), ports=world.ports)

    with pytest.raises(CommitConflict):
        save(seal(attempt.row, now=START), ports=world.ports)
    with pytest.raises(CommitConflict):
        save(seal_and_refer(attempt, "0" * 64, now=START), ports=world.ports)

    assert (world.row().state, world.gates()) == ("ABORTED", {"CLOSED"})
    assert world.published(RoundSealed) == []


def test_mutant_the_state_condition_at_t9(world: World) -> None:
    """One dispatcher saw a deadline pass below the quorum; meanwhile the other sealed."""
    world.begin("ann", "bob", quorum=1)
    attempt = read(world)
    world.clock.advance(100)
    decision = close(attempt, now=world.now)
    assert isinstance(decision, Abort)
    late = abort(attempt.row, decision.reason, run=world.run(), head=0, now=world.now)
    world.hear(*world.accept("ann", "bob"))
    assert world.row().state == "SEALED"

    with pytest.raises(CommitConflict):
        save(late, ports=world.ports)

    world.hear(world.commit())
    assert (world.row().state, world.head()) == ("COMMITTED", 1)
    with pytest.raises(CommitConflict):
        save(late, ports=world.ports)
    assert world.published(RoundAborted) == []


def test_mutant_the_epoch_condition_at_t9(world: World) -> None:
    """A claim moved the epoch after the dispatcher had read the row."""
    world.begin("ann", "bob")
    world.hear(*world.accept("ann", "bob"))
    late = abort(world.row(), "cancelled", run=world.run(), head=0, now=START)
    world.store.commit(Update(round_key(RUN, 1, 1), add={"epoch": 1}))

    with pytest.raises(CommitConflict):
        save(late, ports=world.ports)

    assert world.row().state == "SEALED"


def test_mutant_epoch_at_t9(world: World) -> None:
    """An aggregator that claimed before the abort finds another epoch when it commits."""
    world.begin("ann", "bob")
    world.hear(*world.accept("ann", "bob"))
    world.store.commit(Update(round_key(RUN, 1, 1), add={"epoch": 1}, assign={"owner": "w"}))

    save(abort(world.row(), "cancelled", run=world.run(), head=0, now=START), ports=world.ports)

    assert (world.row().state, world.row().epoch) == ("ABORTED", 2)
    with pytest.raises(Conflict):
        world.commit()


def test_mutant_gates_left_open_at_t9(world: World) -> None:
    world.begin("ann", "bob", quorum=2)
    stand_ins.report(world.store, (RUN, 1, 1), "ann", now=START)
    world.clock.advance(100)
    world.sweep()

    with pytest.raises(CommitConflict):
        stand_ins.accept(world.store, (RUN, 1, 1), "ann", now=START)

    assert world.gates() == {"CLOSED"}


def test_mutant_gates_left_sealed_at_t9(world: World) -> None:
    world.begin("ann", "bob")
    world.hear(*world.accept("ann", "bob"))

    save(abort(world.row(), "cancelled", run=world.run(), head=0, now=START), ports=world.ports)

    assert world.gates() == {"CLOSED"}


def test_mutant_sealed_at_t4(world: World) -> None:
    """The run was cancelled between the query and the reference to the manifest."""
    world.begin("ann", "bob")
    world.accept("ann", "bob")
    attempt = read(world)
    world.store.commit(Update(round_key(RUN, 1, 1), assign={"state": "ABORTED"}))

    with pytest.raises(CommitConflict):
        save(refer(attempt, "0" * 64, now=START), ports=world.ports)

    assert world.row().manifest is None
    assert world.published(RoundSealed) == []
    assert stand_ins.outbox_is_empty(world.store)


def test_mutant_manifest_absent_at_t4(world: World) -> None:
    world.begin("ann", "bob")
    world.hear(*world.accept("ann", "bob"))
    attempt = read(world)

    with pytest.raises(CommitConflict):
        save(refer(attempt, "0" * 64, now=START), ports=world.ports)

    assert world.row() == attempt.row


def test_mutant_the_manifest_s_count_together_with_the_strong_read(world: World) -> None:
    """A read that misses an acknowledged update must not become a manifest."""
    world.begin("ann", "bob", "eve", target=3, quorum=1)
    hints = world.accept("ann", "bob")
    world.clock.advance(100)
    query = world.store.query
    hidden = {"UPD#bob"}

    def stale(pk: str, prefix: str = "") -> list[object]:
        return [item for item in query(pk, prefix) if item["SK"] not in hidden]

    world.store.query = stale  # type: ignore[method-assign,assignment]  # an index read, say
    with pytest.raises(Unavailable, match="1 accepted updates where its gates counted 2"):
        world.handle(*hints)
    assert (world.row().state, world.row().manifest) == ("SEALED", None)

    hidden.clear()
    world.sweep()

    assert [event.updates for event in world.published(RoundSealed)] == [2]


def test_mutant_the_gates_counts_at_t3_and_t4_in_one(world: World) -> None:
    """An update that is accepted between the read and the seal is in the manifest all the same."""
    world.begin("ann", "bob", "eve", target=3, quorum=2)
    world.accept("ann", "bob")
    late = read(world)
    world.accept("eve")

    with pytest.raises(CommitConflict) as caught:
        save(seal_and_refer(late, "0" * 64, now=START), ports=world.ports)

    assert caught.value.keys == (gate_key(RUN, 1, 1, gate_of("eve")),)
    assert (world.row().state, world.published(RoundSealed)) == ("OPEN", [])


def test_an_update_that_comes_while_the_round_is_being_sealed_counts(world: World) -> None:
    world.begin("ann", "bob", "eve", target=3, quorum=2)
    hints = world.accept("ann", "bob")
    world.clock.advance(100)
    put = world.models.put

    def meanwhile(key: str, data: bytes) -> object:
        world.models.put = put  # type: ignore[method-assign]
        world.accept("eve")
        return put(key, data)

    world.models.put = meanwhile  # type: ignore[method-assign,assignment]
    world.handle(*hints)

    (event,) = world.published(RoundSealed)
    assert (event.updates, event.manifest) == (3, world.row().manifest)
    assert world.row().updates == 3


def test_mutant_round_sealed_written_at_t3(world: World) -> None:
    """Between T3 and T4 there is no event yet, not even in the outbox."""
    world.begin("ann", "bob")
    world.accept("ann", "bob")

    save(seal(world.row(), now=START), ports=world.ports)

    assert (world.row().state, world.row().manifest) == ("SEALED", None)
    assert stand_ins.outbox_is_empty(world.store)
    assert world.published(RoundSealed) == []
    world.sweep()
    assert [event.manifest for event in world.published(RoundSealed)] == [world.row().manifest]


def test_the_manifest_is_the_same_in_one_commit_and_in_two(world: World) -> None:
    world.begin("ann", "bob")
    world.accept("ann", "bob")
    before = manifest_of(read(world))

    save(seal(world.row(), now=START), ports=world.ports)

    assert manifest_of(read(world)) == before


def test_mutant_a_replaced_token(world: World) -> None:
    """The older message arrives last; the newer token must be answered all the same."""
    world.begin("ann", "bob")
    older = world.asked(token=world.workflow.token(RUN) or "")
    world.workflow.time_out(RUN)
    world.deliver()
    newer = world.workflow.token(RUN)

    world.hear(older)

    assert world.row().task_tokens == {older.task_token, newer}
    world.hear(*world.accept("ann", "bob"))
    world.hear(world.commit())
    assert world.workflow.token(RUN) not in {older.task_token, newer}


def test_mutant_a_token_joins_a_terminal_attempt(world: World) -> None:
    """Between the read and the ADD the attempt ended; a token added now would never be answered."""
    world.begin("ann", "bob", quorum=2)
    asked = world.asked(token="late")
    get = world.store.get
    ended: list[bool] = []

    def end_after_the_read(key: tuple[str, str]) -> object:
        item = get(key)  # type: ignore[arg-type]
        if key == round_key(RUN, 1, 1) and not ended:
            ended.append(True)
            run = world.run()
            save(abort(world.row(), "x", run=run, head=0, now=START), ports=world.ports)
        return item

    world.store.get = end_after_the_read  # type: ignore[method-assign,assignment]

    world.handle(asked)

    assert "late" not in world.row().task_tokens


def test_mutant_an_early_acknowledgement_of_a_token(world: World) -> None:
    """The state machine does not answer: the token must stay in the row until it does."""
    world.begin("ann", "bob")
    world.hear(*world.accept("ann", "bob"))
    token = world.workflow.token(RUN)
    succeed = world.workflow.succeed

    def refuse(*_: object, **__: object) -> None:
        raise Unavailable("no answer")

    world.workflow.succeed = refuse  # type: ignore[method-assign]
    world.hear(world.commit())
    assert world.row().task_tokens == {token}
    assert world.row().active == "round"
    assert world.bus.source("dispatcher").depth() == 1  # the message is not acknowledged either

    world.workflow.succeed = succeed  # type: ignore[method-assign]
    world.sweep()

    assert world.row().task_tokens == frozenset()
    assert world.workflow.token(RUN) != token


def test_mutant_a_token_answered_before_the_version(world: World) -> None:
    world.begin("ann", "bob")
    token = world.workflow.token(RUN)
    world.hear(*world.accept("ann", "bob"))

    world.sweep()

    assert world.workflow.token(RUN) == token


def test_mutant_a_token_forgotten_that_was_not_answered(world: World) -> None:
    world.begin("ann", "bob", quorum=2)
    world.store.commit(
        Update(round_key(RUN, 1, 1), add={"task_tokens": frozenset({"second"})}),
    )

    plan = settle(world.row(), answered=frozenset({"second"}), awaits_verdict=False)

    assert plan is not None
    (change,) = plan.changes
    assert isinstance(change, Update)
    assert (change.discard, change.remove) == ({"task_tokens": frozenset({"second"})}, ())


def test_mutant_meta_state_at_the_run_s_end(world: World) -> None:
    """A verdict that was decided on an old META must not end a cancelled run again."""
    world.begin("ann", "bob")
    row, run = world.row(), world.run()
    world.store.commit(Update(round_key(RUN, 1, 1), assign={"attempt": 2}))
    late = abort(world.row(), "x", run=run, head=0, now=START)
    world.store.commit(Update(run_key(RUN), assign={"state": "CANCELLED"}))

    with pytest.raises(CommitConflict) as caught:
        save(late, ports=world.ports)

    assert run_key(RUN) in caught.value.keys
    assert row.state == "OPEN"


@pytest.mark.parametrize("key", [run_key(RUN), head_key(RUN), version_key(RUN, 0)])
def test_mutant_absent_of_each_first_row(world: World, key: Key) -> None:
    spec = stand_ins.register(world.store, world.models, now=START)
    plan = new_run(request(), spec, now=START)
    world.store.commit(Put(key, {"of": "another"}))

    with pytest.raises(CommitConflict) as caught:
        save(plan, ports=world.ports)

    assert caught.value.keys == (key,)
    assert world.store.query("RUNS") == []


def test_mutant_meta_absent_when_a_run_is_new(world: World) -> None:
    """Two dispatchers are handed the same request: one set of rows, one execution."""
    world.register()
    store = world.store
    get, seen = store.get, list[object]()

    def once_blind(key: tuple[str, str]) -> object:
        if key == run_key(RUN) and not seen:
            seen.append(key)
            world.handle(request())  # the other dispatcher, between read and write
            return None
        return get(key)  # type: ignore[arg-type]

    store.get = once_blind  # type: ignore[method-assign,assignment]
    world.handle(request())

    assert world.store.get(version_key(RUN, 0)) is not None
    assert len(world.store.query("RUNS")) == 1
    assert world.workflow.status(RUN) == "RUNNING"
