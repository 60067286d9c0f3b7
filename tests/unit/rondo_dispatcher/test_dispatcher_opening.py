"""T0 and T1: an attempt waits for clients, and opens once."""

from datetime import timedelta

import pytest
from msgspec import structs

from rondo_core.errors import Invalid, NotFound
from rondo_core.events import RoundAborted, RoundOpened
from rondo_core.keys import assign_key, run_key, version_key
from rondo_core.rows import AssignRow, RoundRow, from_item
from rondo_core.run_store import Check, Put, Update
from rondo_dispatcher.domain.clients import training_seed
from rondo_dispatcher.domain.opening import Surroundings, begin
from tests.unit.rondo_dispatcher import stand_ins
from tests.unit.rondo_dispatcher.world import RUN, START, World, request


def test_round_requested_opens_at_once_when_target_clients_are_there(world: World) -> None:
    world.begin("ann", "bob", training={"epochs": 2})

    row = world.row()
    assert row == RoundRow(
        run_id=RUN,
        model="digits",
        spec=stand_ins.SPEC,
        layout=stand_ins.LAYOUT,
        round=1,
        attempt=1,
        state="OPEN",
        base=0,
        base_sha256=stand_ins.sha256("initial weights"),
        target=2,
        quorum=1,
        clients=("ann", "bob"),
        start_deadline_at=START + timedelta(seconds=50),
        deadline_at=START + timedelta(seconds=100),
        opened_at=START,
        task_tokens=frozenset({world.workflow.token(RUN) or ""}),
        active="round",
    )
    assert world.gates() == {"OPEN"}
    assignment = from_item(world.store.get(assign_key(RUN, 1, 1, "bob")) or {}, AssignRow)
    assert assignment == AssignRow(
        client_id="bob", seed=training_seed(RUN, 1, "bob"), training={"epochs": 2}
    )


def test_the_row_carries_what_the_manifest_will_need(world: World) -> None:
    world.register()
    world.poll("ann", "bob")
    world.handle(request())
    world.store.commit(
        Update(version_key(RUN, 0), assign={"optimizer_state": "0" * 64}),
        Update(run_key(RUN), assign={"strategy": "adam", "parameters": {"beta": 0.9}}),
    )

    world.deliver()

    row = world.row()
    assert (row.strategy, row.parameters, row.optimizer_state) == ("adam", {"beta": 0.9}, "0" * 64)


def test_opening_publishes_one_round_opened_and_leaves_an_empty_outbox(world: World) -> None:
    world.begin("ann", "bob", "eve")

    (event,) = world.published(RoundOpened)
    assert event == RoundOpened(
        event_id=f"RoundOpened/{RUN}/1/1",
        run_id=RUN,
        occurred_at=START,
        round=1,
        attempt=1,
        base=0,
        clients=2,
        deadline_at=START + timedelta(seconds=100),
    )
    assert stand_ins.outbox_is_empty(world.store)


def test_a_round_waits_for_target_clients_and_the_sweep_opens_it(world: World) -> None:
    world.begin("ann")
    assert (world.row().state, world.row().clients, world.gates()) == ("PENDING", (), {None})
    world.sweep()
    assert world.row().state == "PENDING"

    world.poll("bob")
    world.sweep()

    assert (world.row().state, world.row().clients) == ("OPEN", ("ann", "bob"))
    assert world.row().active == "round"
    assert len(world.published(RoundOpened)) == 1


def test_a_round_opens_with_a_quorum_at_the_start_deadline(world: World) -> None:
    world.begin("ann", target=3, quorum=1)
    world.clock.advance(49.9)
    world.poll("bob")
    world.sweep()
    assert world.row().state == "PENDING"

    world.clock.advance(0.1)
    world.sweep()

    assert (world.row().state, world.row().clients) == ("OPEN", ("ann", "bob"))


def test_a_round_without_a_quorum_at_the_start_deadline_is_aborted(world: World) -> None:
    world.begin("ann", target=3, quorum=2)

    world.clock.advance(50)
    world.sweep()

    row = world.row()
    assert row.state == "ABORTED"
    assert row.reason == (
        "not enough clients: 1 of 3 were there when the start deadline passed, and the quorum is 2"
    )
    assert world.gates() == {None}
    assert [event.reason for event in world.published(RoundAborted)] == [row.reason]


def test_the_client_of_the_root_update_is_always_chosen_and_waited_for(world: World) -> None:
    clients = [f"client-{number}" for number in range(9)]
    world.begin(*clients, target=4, strategy="fltrust", parameters={"root": "root"})
    assert world.row().state == "PENDING"

    world.poll("root")
    world.sweep()

    assert world.row().state == "OPEN"
    assert len(world.row().clients) == 4
    assert "root" in world.row().clients


def test_a_round_without_its_root_client_at_the_start_deadline_is_aborted(world: World) -> None:
    world.begin("ann", "bob", strategy="fltrust", parameters={"root": "root"})

    world.clock.advance(50)
    world.sweep()

    assert world.row().state == "ABORTED"
    assert world.row().reason == (
        "the root client 'root' was not there when the start deadline passed"
    )


def test_more_clients_than_target_are_chosen_by_run_and_round(world: World) -> None:
    clients = [f"client-{number}" for number in range(9)]
    world.begin(*clients, target=4)

    chosen = world.row().clients

    assert len(chosen) == 4
    assigned = [item["client_id"] for item in world.store.query(f"RUN#{RUN}#ROUND#000001#01", "AS")]
    assert assigned == list(chosen)


def test_a_client_that_polled_long_ago_is_not_chosen(world: World) -> None:
    world.register()
    world.poll("gone")
    world.clock.advance(61)
    world.poll("ann", "bob")

    world.hear(request())

    assert world.row().clients == ("ann", "bob")


def test_another_model_s_clients_are_not_chosen(world: World) -> None:
    stand_ins.poll(world.store, ["cat", "dog"], now=START, model="cats")

    world.begin("ann")

    assert world.row().state == "PENDING"


def test_opening_is_one_commit_with_the_assignments_as_long_as_they_fit(world: World) -> None:
    clients = [f"client-{number:03d}" for number in range(80)]
    world.register()
    world.poll(*clients)

    world.hear(request(target=80))

    (opening,) = [changes for changes in world.flaky.commits if len(changes) > 20]
    assert len(opening) == 100
    assert sum(isinstance(change, Check) for change in opening) == 2


def test_more_assignments_than_fit_are_written_before_the_round_opens(world: World) -> None:
    clients = [f"client-{number:03d}" for number in range(130)]
    world.register()
    world.poll(*clients)

    world.hear(request(target=130))

    *_, first, second, opening, _deleted = world.flaky.commits
    assert [len(first), len(second), len(opening)] == [100, 30, 20]
    assert all(isinstance(change, Put) for change in first + second)
    assert len(world.row().clients) == 130
    assigned = [item["client_id"] for item in world.store.query(f"RUN#{RUN}#ROUND#000001#01", "AS")]
    assert tuple(assigned) == world.row().clients


def test_a_paused_run_s_round_waits_even_beyond_its_start_deadline(world: World) -> None:
    world.begin("ann")
    world.store.commit(Update(run_key(RUN), assign={"state": "PAUSED"}))
    world.clock.advance(51)
    world.poll("ann", "bob")

    world.sweep()

    assert world.row().state == "PENDING"
    world.store.commit(Update(run_key(RUN), assign={"state": "RUNNING"}))
    world.sweep()
    assert world.row().state == "OPEN"


def test_a_round_of_a_paused_run_begins_pending(world: World) -> None:
    world.register()
    world.poll("ann", "bob")
    world.handle(request())
    world.store.commit(Update(run_key(RUN), assign={"state": "PAUSED"}))

    world.deliver()

    assert world.row().state == "PENDING"


def test_a_pending_round_of_a_cancelled_run_is_aborted_and_its_token_answered(world: World) -> None:
    world.begin("ann")
    world.store.commit(
        Update(run_key(RUN), assign={"state": "CANCELLED"}, remove=("active",)),
    )

    world.sweep()

    assert (world.row().state, world.row().reason) == ("ABORTED", "the run is CANCELLED")
    assert world.row().task_tokens == frozenset()
    assert world.run().state == "CANCELLED"


def test_a_round_of_a_run_that_is_over_is_not_begun_but_answered(world: World) -> None:
    world.register()
    world.handle(request())
    world.store.commit(Update(run_key(RUN), assign={"state": "CANCELLED"}))

    world.deliver()

    assert not world.has_attempt()
    assert not world.has_attempt(attempt=2)
    assert world.workflow.status(RUN) == "FAILED"


def test_a_round_that_has_its_version_writes_nothing_and_answers_success(world: World) -> None:
    world.begin("ann", "bob")
    world.hear(*world.accept("ann", "bob"))
    world.commit()
    rows = world.store.query(f"RUN#{RUN}")
    asked = world.asked(token=world.workflow.token(RUN) or "")

    world.handle(asked)

    assert world.store.query(f"RUN#{RUN}") == rows
    assert world.published(type(asked))[-1].state.round == 1
    assert world.workflow.token(RUN) != asked.task_token


def test_round_requested_for_an_unknown_run_is_dead_lettered(world: World) -> None:
    world.begin("ann", "bob")

    with pytest.raises(NotFound, match="RUN#run-2/META"):
        world.handle(structs.replace(world.asked(), run_id="run-2"))


@pytest.mark.parametrize("round_", [3, 9])
def test_a_round_that_no_run_asks_for_now_is_dead_lettered(world: World, round_: int) -> None:
    world.begin("ann", "bob", rounds=5)

    world.hear(world.asked(round_=round_))

    ((_, reason),) = world.bus.dead_letters("dispatcher")
    assert f"round {round_} of run {RUN} was asked for" in reason
    assert not world.has_attempt(round_=round_)


def test_a_round_beyond_the_last_is_dead_lettered(world: World) -> None:
    world.begin("ann", "bob")
    world.hear(*world.accept("ann", "bob"))
    world.commit()

    world.hear(world.asked(round_=2))

    ((_, reason),) = world.bus.dead_letters("dispatcher")
    assert "it has 1 rounds" in reason


def test_a_second_attempt_without_a_first_is_dead_lettered(world: World) -> None:
    world.register()
    world.handle(request())

    with pytest.raises(Invalid, match="there is no attempt 1"):
        world.handle(world.asked(attempt=2))

    assert not world.has_attempt(attempt=2)


def test_begin_for_a_new_row_is_one_commit_that_needs_the_row_to_be_absent(world: World) -> None:
    world.begin("ann")
    row = world.row()
    around = Surroundings(run=world.run(), head=0, previous=None, clients=())

    plan = begin(row, around, now=START)

    assert [type(change) for change in plan.changes] == [Put, Check, Check]
    assert plan.events == ()
