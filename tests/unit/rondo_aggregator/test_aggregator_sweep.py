"""The sweep: what was lost is asked for again, what is merely in progress is not."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from rondo_aggregator.domain.attempt import SERVICE
from rondo_core.errors import Unavailable
from rondo_core.events import Event, VersionCommitted
from rondo_core.keys import round_key
from rondo_core.outbox import outbox_put
from rondo_core.run_store import Put, Update
from tests.unit.rondo_aggregator.aggregator_world import Asked, World, seal_three
from tests.unit.rondo_aggregator.round_rows import ATTEMPT, CLIENTS, abort


def sweep_for(world: World, seconds: float, sweep: Callable[[], None] | None = None) -> list[Asked]:
    """Sweep every second for a while and return all that was asked for."""
    sweep = sweep or world.sweeper()
    for _ in range(int(seconds)):
        sweep()
        world.clock.advance(1.0)
    return world.asked()


def test_nothing_active_is_nothing_to_ask_for(world: World) -> None:
    assert sweep_for(world, 60) == []


def test_an_update_that_nobody_judged_is_asked_for_after_a_moment(world: World) -> None:
    world.open_round()
    world.submit("ada")
    sweep = world.sweeper()

    assert sweep_for(world, 3, sweep) == []
    (task,) = sweep_for(world, 1, sweep)
    assert (task.task, task.attempt, task.arguments) == (
        "rondo.validate",
        ATTEMPT,
        {"clients": ["ada"]},
    )


def test_an_update_that_is_judged_in_time_is_never_asked_for(world: World) -> None:
    world.open_round()
    world.submit("ada")
    sweep = world.sweeper()
    early = sweep_for(world, 2, sweep)
    world.judge("ada")

    assert early + sweep_for(world, 60, sweep) == []


def test_several_are_asked_for_together_and_then_one_by_one(world: World) -> None:
    world.open_round()
    for client in CLIENTS:
        world.submit(client)
    sweep = world.sweeper()

    first = sweep_for(world, 4, sweep)
    then = sweep_for(world, 6, sweep)

    assert [task.arguments["clients"] for task in first] == [list(CLIENTS)]
    assert [task.arguments["clients"] for task in then] == [["ada"], ["bob"], ["cyd"]]


def test_a_large_round_is_asked_for_in_batches(world: World) -> None:
    world.open_round()
    for index in range(23):
        world.submit(f"client-{index:02d}")

    tasks = sweep_for(world, 4)

    assert [len(task.arguments["clients"]) for task in tasks] == [10, 10, 3]


def test_what_is_asked_for_is_not_asked_for_every_second(world: World) -> None:
    world.open_round()
    world.submit("ada")

    assert len(sweep_for(world, 120)) == 6


def test_a_declared_update_counts_once_its_object_exists(world: World) -> None:
    world.open_round()
    row = world.submit("ada", state="DECLARED", upload=False)
    sweep = world.sweeper()
    before = sweep_for(world, 30, sweep)
    world.models.put(row.key, b"uploaded")

    after = sweep_for(world, 31, sweep)

    assert before == []
    assert [task.arguments["clients"] for task in after] == [["ada"]]


def test_a_declared_update_of_a_round_that_is_over_is_left_alone(world: World) -> None:
    world.open_round()
    world.submit("ada", state="DECLARED")
    world.seal()

    assert sweep_for(world, 60) == []


def test_a_report_after_the_seal_is_rejected_as_late_in_the_end(world: World) -> None:
    seal_three(world)
    world.combine()
    world.submit("dan")

    sweep_for_and_run(world, 4)

    assert world.updates()["dan"].code == "late"
    assert sweep_for(world, 60) == []


def sweep_for_and_run(world: World, seconds: float) -> None:
    sweep = world.sweeper()
    for _ in range(int(seconds)):
        sweep()
        world.run_tasks()
        world.clock.advance(1.0)


def test_a_sealed_round_that_nobody_claims_is_asked_for_and_made(world: World) -> None:
    seal_three(world)

    sweep_for_and_run(world, 4)

    assert world.round().state == "COMMITTED"


def test_a_sealed_round_without_a_manifest_is_the_dispatchers(world: World) -> None:
    world.open_round()
    world.seal()

    assert sweep_for(world, 60) == []


def test_a_round_that_can_never_be_combined_is_not_asked_for_again(world: World) -> None:
    seal_three(world)
    world.store.commit(Update(ATTEMPT.key, assign={"reason": "cannot be combined: NaN"}))

    assert sweep_for(world, 60) == []


@pytest.mark.parametrize("lease_seconds", [5.0, 20.0])
def test_a_claim_is_taken_over_when_its_lease_stood_still_for_the_lease_time(
    world: World, lease_seconds: float
) -> None:
    seal_three(world)
    world.store.commit(Update(ATTEMPT.key, assign={"owner": "dead", "epoch": 3}))
    sweep = world.sweeper(lease_seconds)

    assert sweep_for(world, lease_seconds, sweep) == []
    (task,) = sweep_for(world, 1, sweep)
    assert (task.task, task.arguments) == ("rondo.combine", {"take_over": 3})

    world.run(task)

    assert (world.round().state, world.round().epoch) == ("COMMITTED", 4)


def test_a_claim_whose_lease_moves_is_never_taken_over(world: World) -> None:
    seal_three(world)
    world.store.commit(Update(ATTEMPT.key, assign={"owner": "busy", "epoch": 3}))
    sweep, asked = world.sweeper(5.0), []
    for _ in range(20):
        asked += sweep_for(world, 3, sweep)
        world.store.commit(Update(ATTEMPT.key, add={"lease": 1}))

    assert asked == []


def test_each_update_is_counted_once_when_the_owner_dies_and_the_sweep_finishes(
    world: World,
) -> None:
    manifest = seal_three(world)
    world.store.commit(Update(ATTEMPT.key, assign={"owner": "dead", "epoch": 1}))

    sweep_for_and_run(world, 30)

    version = world.version()
    assert version is not None
    assert version.updates == len(manifest.updates) == world.counted() == 3
    assert len(world.published(VersionCommitted)) == 1


def committed(world: World) -> VersionCommitted:
    return VersionCommitted(
        event_id=ATTEMPT.event_id("VersionCommitted"),
        run_id="run-1",
        occurred_at=world.clock.now(),
        round=1,
        attempt=1,
        version=1,
        sha256="a" * 64,
    )


def test_what_a_crash_left_in_the_outbox_is_published(world: World) -> None:
    event = committed(world)
    world.store.commit(outbox_put(event, service=SERVICE))

    world.sweeper()()

    assert world.bus.published == [event]
    assert world.store.query("OUTBOX#aggregator") == []


def test_a_topic_that_does_not_answer_keeps_no_update_waiting(world: World) -> None:
    def no_answer(*_: Event) -> None:
        raise Unavailable("no bus")

    world.open_round()
    world.submit("ada")
    world.store.commit(outbox_put(committed(world), service=SERVICE))
    sweep = replace(world.sweeper(), publish=no_answer)

    for _ in range(4):
        with pytest.raises(Unavailable):
            sweep()
        world.clock.advance(1.0)

    assert [task.arguments for task in world.asked()] == [{"clients": ["ada"]}]


def test_a_row_that_cannot_be_read_does_not_keep_others_waiting(world: World) -> None:
    world.store.commit(Put(round_key("broken", 1, 1), {"active": "round", "state": "OPEN"}))
    world.open_round()
    world.submit("ada")
    world.store.commit(Put(ATTEMPT.update_key("aaa"), {"state": "REPORTED"}))

    (task,) = sweep_for(world, 4)

    assert task.arguments["clients"] == ["ada"]


def test_a_pending_round_has_nothing_to_sweep(world: World) -> None:
    world.open_round()
    world.submit("ada")
    world.store.commit(Update(ATTEMPT.key, assign={"state": "PENDING"}))

    assert sweep_for(world, 60) == []


def test_an_aborted_round_is_not_combined(world: World) -> None:
    seal_three(world)
    abort(world.store, epoch=1)

    assert sweep_for(world, 60) == []
