"""FedBuff: a round is sealed at K updates, and who is still at work takes a place in the next."""

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from rondo_core.keys import assign_key, update_key
from rondo_core.late_updates import Found, Place, enter, find_place
from rondo_core.manifest import decode_manifest
from rondo_core.model_store import manifest_key
from rondo_core.run_store import Update
from rondo_dispatcher.domain.ending import abort
from rondo_dispatcher.handlers.saving import save
from tests.unit.rondo_dispatcher import stand_ins
from tests.unit.rondo_dispatcher.world import RUN, START, World

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rondo_core.rows import UpdateRow

FIRST = (RUN, 1, 1)


def begin(world: World, *clients: str, **parameters: Any) -> None:
    """Ask for a run of three rounds with two clients, of whom one fills the buffer."""
    fields: Mapping[str, Any] = {"buffer_size": 1} | parameters
    world.begin(*clients, rounds=3, strategy="fedbuff", parameters=fields)


def commit(world: World, round_: int = 1) -> None:
    world.hear(world.commit(round_))


def late(world: World, client: str) -> str:
    """Enter an update that was made for round 1 into the newest one; return its digest."""
    row: UpdateRow = stand_ins.reported_row(FIRST, client, now=world.now)
    place = find_place(RUN, store=world.store)
    assert isinstance(place, Place)
    world.store.commit(*enter(row, Found(FIRST[1:], None), place))
    return row.sha256


def test_a_round_is_sealed_when_the_buffer_is_full(world: World) -> None:
    begin(world, "ann", "bob")
    assert world.row().clients == ("ann", "bob")

    world.hear(*world.accept("ann"))

    assert (world.row().state, world.row().updates) == ("SEALED", 1)


def test_a_buffer_without_a_size_holds_the_target(world: World) -> None:
    begin(world, "ann", "bob", buffer_size=2)

    world.hear(*world.accept("ann"))

    assert world.row().state == "OPEN"


def test_who_is_at_work_takes_a_place_in_the_next_round_and_the_rest_is_chosen(
    world: World,
) -> None:
    begin(world, "ann", "bob")
    world.hear(*world.accept("ann"))
    world.clock.advance(90)  # longer than a client that polls is away
    world.poll("ann", "eve")

    commit(world)

    row = world.row(2)
    assert "bob" in row.clients
    assert len(row.clients) == 2
    assert row.at_work == {"bob": START + timedelta(seconds=100)}
    assert world.store.get(assign_key(RUN, 2, 1, "bob")) is not None


def test_a_client_is_waited_for_until_the_deadline_of_the_round_that_it_was_given(
    world: World,
) -> None:
    begin(world, "ann", "bob")
    world.hear(*world.accept("ann"))
    world.clock.advance(60)
    world.poll("ann", "eve")
    commit(world)
    (other,) = set(world.row(2).clients) - {"bob"}
    world.hear(*world.accept(other, round_=2))
    world.clock.advance(41)
    world.poll("ann", "eve")

    commit(world, 2)

    assert world.row(3).clients == ("ann", "eve")
    assert world.row(3).at_work == {}


def test_a_late_update_counts_in_the_round_that_it_was_entered_into(world: World) -> None:
    begin(world, "ann", "bob")
    world.hear(*world.accept("ann"))
    commit(world)
    digest = late(world, "bob")

    hint = stand_ins.accept(world.store, (RUN, 2, 1), "bob", now=world.now, digest=digest)
    world.hear(hint)

    row = world.row(2)
    assert row.state == "SEALED"
    (entry,) = decode_manifest(world.models.get(manifest_key(row.manifest or ""))).updates
    assert (entry.client_id, entry.sha256, entry.staleness) == ("bob", digest, 1)


def test_a_late_update_of_a_client_that_was_not_chosen_again_counts_too(world: World) -> None:
    begin(world, "ann", "bob")
    world.hear(*world.accept("ann"))
    world.clock.advance(101)
    world.poll("ann", "eve")
    commit(world)
    assert world.row(2).clients == ("ann", "eve")
    digest = late(world, "bob")

    hint = stand_ins.accept(world.store, (RUN, 2, 1), "bob", now=world.now, digest=digest)
    world.hear(hint)

    assert (world.row(2).state, world.row(2).updates) == ("SEALED", 1)


def pending(world: World) -> None:
    """Let the second round wait for clients, when ann, of the first, is waited for no more."""
    begin(world, "ann", "bob")
    world.hear(*world.accept("bob"))
    world.clock.advance(101)
    commit(world)
    assert world.row(2).state == "PENDING"


def test_a_late_update_that_waits_takes_a_place_though_its_client_asks_for_no_work(
    world: World,
) -> None:
    pending(world)
    world.poll("eve")
    late(world, "ann")

    world.sweep()

    row = world.row(2)
    assert (row.state, row.clients, row.at_work) == ("OPEN", ("ann", "eve"), {})


@pytest.mark.parametrize("others", ["bob eve", "ann bob kim"])
def test_one_client_is_drawn_beside_one_whose_late_update_waits(world: World, others: str) -> None:
    pending(world)
    late(world, "ann")
    world.poll(*others.split())

    world.sweep()

    (drawn,) = set(world.row(2).clients) - {"ann"}
    assert drawn == "bob"


def test_late_updates_that_wait_are_a_quorum_at_the_start_deadline(world: World) -> None:
    pending(world)
    late(world, "ann")
    world.clock.advance(50)

    world.sweep()

    assert (world.row(2).state, world.row(2).clients) == ("OPEN", ("ann",))


def test_a_late_update_that_waits_in_a_second_attempt_takes_a_place_in_it(world: World) -> None:
    begin(world, "ann", "bob")
    world.clock.advance(101)
    world.sweep()
    world.hear(world.asked(attempt=2))
    assert (world.row().state, world.row(1, 2).state) == ("ABORTED", "PENDING")
    late(world, "ann")
    world.poll("eve")

    world.sweep()

    assert (world.row(1, 2).state, world.row(1, 2).clients) == ("OPEN", ("ann", "eve"))


def test_a_late_update_that_was_only_declared_takes_no_place(world: World) -> None:
    pending(world)
    late(world, "ann")
    declared = Update(update_key(RUN, 2, 1, "ann"), assign={"state": "DECLARED"})
    world.store.commit(declared)
    world.poll("eve")

    world.sweep()

    assert world.row(2).state == "PENDING"


def test_mutant_the_newest_attempt_stays_in_the_index_until_the_next_begins(
    world: World,
) -> None:
    """A late update that waits in it would be found by nobody."""
    begin(world, "ann", "bob")
    world.hear(*world.accept("ann"))
    world.commit()
    world.sweep()
    assert world.row().task_tokens == frozenset()
    assert world.row().active == "round"
    late(world, "bob")
    world.deliver()
    assert world.row(2).state == "OPEN"

    world.sweep()
    assert world.row().active == "round"

    rejected = {"state": "REJECTED", "code": "late"}
    world.store.commit(Update(update_key(*FIRST, "bob"), assign=rejected))
    world.sweep()
    assert world.row().active is None


def test_a_run_that_ends_leaves_the_index(world: World) -> None:
    begin(world, "ann", "bob")
    for round_ in (1, 2, 3):
        world.poll("ann", "bob")
        free = sorted(set(world.row(round_).clients) - set(world.row(round_).at_work))
        world.hear(*world.accept(free[0], round_=round_))
        commit(world, round_)

    world.sweep()

    assert world.store.active("round") == []


def test_clients_of_an_attempt_that_was_given_up_are_at_work_for_the_second(
    world: World,
) -> None:
    begin(world, "ann", "bob", "eve", buffer_size=2)
    (gone,) = {"ann", "bob", "eve"} - set(world.row().clients)
    first, second = world.row().clients
    save(abort(world.row(), "x", run=world.run(), head=0, now=world.now), ports=world.ports)
    world.poll(first, gone)
    world.sweep()

    world.hear(world.asked(attempt=2))

    assert world.row(1, 2).clients == (first, second)
    assert set(world.row(1, 2).at_work) == {first, second}


@pytest.mark.parametrize(("size", "why"), [(3, "more than target 2"), (1, "less than quorum 2")])
def test_a_buffer_that_does_not_go_with_the_rounds_is_refused(
    world: World, size: int, why: str
) -> None:
    world.begin("ann", strategy="fedbuff", parameters={"buffer_size": size}, quorum=2)

    assert (world.run().state, world.run().reason) == ("FAILED", f"buffer_size {size} is {why}")
