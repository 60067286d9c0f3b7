"""A sealed round whose row says that it can never be combined."""

from rondo_core.events import RoundAborted
from rondo_core.keys import round_key
from rondo_core.run_store import Update
from tests.unit.rondo_dispatcher.world import RUN, World

REASON = "cannot be combined: column 3 of the result is inf"


def test_a_round_that_can_never_be_combined_is_aborted_and_asked_for_once_more(
    world: World,
) -> None:
    world.begin("ann", "bob", target=2)
    world.hear(*world.accept("ann", "bob"))
    assert (world.row().state, world.row().manifest is None) == ("SEALED", False)
    world.store.commit(Update(round_key(RUN, 1, 1), assign={"reason": REASON}))

    world.sweep()
    world.deliver()

    assert (world.row().state, world.row().reason) == ("ABORTED", REASON)
    assert world.gates() == {"CLOSED"}
    (event,) = world.published(RoundAborted)
    assert event.reason == REASON
    assert world.row(attempt=2).state == "OPEN"


def test_a_sealed_round_without_such_a_note_is_left_to_the_aggregator(world: World) -> None:
    world.begin("ann", "bob", target=2)
    world.hear(*world.accept("ann", "bob"))

    world.sweep()

    assert world.row().state == "SEALED"
