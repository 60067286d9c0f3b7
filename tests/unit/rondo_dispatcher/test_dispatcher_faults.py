"""Lost answers, crashes and broken ports: whatever happens once, the run ends all the same."""

from typing import TYPE_CHECKING, Any

import pytest

from rondo_core.errors import Unavailable
from rondo_core.events import RoundAborted, RoundOpened, RoundSealed, RunFinished
from rondo_core.keys import round_key
from rondo_core.manifest import decode_manifest
from rondo_core.model_store import manifest_key
from rondo_core.run_store import Key
from rondo_dispatcher.handlers.sweeping import Sweep
from rondo_dispatcher.handlers.table import handler_table
from tests.unit.rondo_dispatcher import stand_ins
from tests.unit.rondo_dispatcher.whole_run import others_take_their_turn, updates
from tests.unit.rondo_dispatcher.world import RUN, World, request

if TYPE_CHECKING:
    from collections.abc import Callable

CLIENTS = ("ann", "bob")
ROUNDS = 2


class Crash(BaseException):
    """The process dies here: no handler of errors runs."""


def restart(world: World) -> None:
    """Start the dispatcher anew; what it had received comes again."""
    world.sweep = Sweep(world.ports)
    world.handlers = handler_table(world.ports)
    world.bus.source("dispatcher").redeliver()


def finish(world: World) -> None:
    """Let everybody take turns, with a restart after each crash, until the run is over."""
    for _ in range(60):
        try:
            world.deliver()
            world.sweep()
            world.bus.publish(*others_take_their_turn(world, CLIENTS))
        except (Crash, Unavailable):
            restart(world)
        world.clock.advance(1)
        world.bus.source("dispatcher").redeliver()
        if world.workflow.status(RUN) == "SUCCEEDED" and world.run().state == "FINISHED":
            world.sweep()
            return
    raise AssertionError(f"not finished: {world.store.query(f'RUN#{RUN}')}")


def check_outcome(world: World) -> None:
    """Every promise that can be read from the rows afterwards."""
    assert world.head() == ROUNDS
    assert stand_ins.outbox_is_empty(world.store)
    assert world.store.active("round") == world.store.active("run") == []
    for round_ in range(1, ROUNDS + 1):
        row = world.row(round_)
        assert (row.state, row.task_tokens) == ("COMMITTED", frozenset())
        manifest = decode_manifest(world.models.get(manifest_key(row.manifest or "")))
        accepted = [one for one in updates(world, (RUN, round_, 1)) if one.state == "ACCEPTED"]
        assert [entry.client_id for entry in manifest.updates] == sorted(
            one.client_id for one in accepted
        )
        assert not world.has_attempt(round_, 2)
    assert {event.round for event in world.published(RoundOpened)} == {1, 2}
    sealed = {(event.round, event.manifest) for event in world.published(RoundSealed)}
    assert sealed == {(round_, world.row(round_).manifest) for round_ in (1, 2)}
    assert {event.event_id for event in world.published(RunFinished)} == {f"RunFinished/{RUN}"}
    assert world.published(RoundAborted) == []
    assert world.bus.dead_letters("dispatcher") == []


def begin(world: World) -> None:
    world.register()
    world.poll(*CLIENTS)
    world.bus.publish(request(rounds=ROUNDS))


def test_a_run_without_faults_reaches_its_end(world: World) -> None:
    begin(world)

    finish(world)

    check_outcome(world)
    assert len(world.published(RoundOpened)) == ROUNDS
    assert len(world.published(RoundSealed)) == ROUNDS


@pytest.mark.parametrize("kind", ["refused", "lost"])
@pytest.mark.parametrize("number", range(1, 45))
def test_one_commit_without_an_answer_changes_nothing(world: World, kind: str, number: int) -> None:
    begin(world)
    world.flaky.count_from_now()
    getattr(world.flaky, kind).add(number)

    finish(world)

    check_outcome(world)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("port", ["get", "commit", "put", "topic", "start", "succeed", "query"])
def test_a_crash_at_any_call_of_a_port_is_made_good(port: str, when: str) -> None:
    for number in range(1, 200):
        world = World()
        begin(world)
        crashed = crash_at(world, port, when, number)

        finish(world)

        check_outcome(world)
        if not crashed:
            assert number > 1
            return
    raise AssertionError("more calls than a run can have")


def crash_at(world: World, port: str, when: str, number: int) -> list[str]:
    """Let the dispatcher's call of a port with this number crash; return a list that notes it."""
    owners: dict[str, Any] = {"put": world.models, "topic": world}
    owners |= {"start": world.workflow, "succeed": world.workflow}
    owner = owners.get(port, world.flaky)
    real: Callable[..., Any] = getattr(owner, port)
    crashed: list[str] = []
    calls = [0]

    def counted(*args: Any, **named: Any) -> Any:
        calls[0] += 1
        if calls[0] != number:
            return real(*args, **named)
        crashed.append(port)
        if when == "after":
            real(*args, **named)
        raise Crash(port)

    setattr(owner, port, counted)
    return crashed


def test_a_crash_between_write_and_publish_is_found_by_the_sweep(world: World) -> None:
    world.register()
    world.poll(*CLIENTS)
    world.handle(request())
    world.broken_publishes = 2  # the first try, and the look that follows
    world.deliver()
    assert world.row().state == "OPEN"
    assert world.published(RoundOpened) == []

    world.sweep()

    assert len(world.published(RoundOpened)) == 1
    assert stand_ins.outbox_is_empty(world.store)


def test_a_crash_between_write_and_publish_is_found_by_the_redelivery(world: World) -> None:
    world.register()
    world.poll(*CLIENTS)
    world.handle(request())
    world.broken_publishes = 2
    world.deliver()
    assert world.published(RoundOpened) == []

    world.bus.source("dispatcher").redeliver()
    world.deliver()

    assert len(world.published(RoundOpened)) == 1
    assert world.bus.source("dispatcher").depth() == 0


def test_a_second_attempt_s_lost_publish_is_found_by_the_redelivery(world: World) -> None:
    world.begin(*CLIENTS, quorum=2)
    world.clock.advance(100)
    world.poll(*CLIENTS)
    world.sweep()
    world.broken_publishes = 2
    world.deliver()
    assert world.row(attempt=2).state == "OPEN"
    assert [event.attempt for event in world.published(RoundOpened)] == [1]

    world.bus.source("dispatcher").redeliver()
    world.deliver()

    assert [event.attempt for event in world.published(RoundOpened)] == [1, 2]


def test_a_seal_whose_answer_was_lost_is_published_all_the_same(world: World) -> None:
    world.begin(*CLIENTS)
    hints = world.accept(*CLIENTS)
    world.flaky.count_from_now()
    world.flaky.lost = {1}

    world.handle(*hints)

    assert [event.manifest for event in world.published(RoundSealed)] == [world.row().manifest]
    assert stand_ins.outbox_is_empty(world.store)


def test_a_publish_that_fails_once_is_made_up_for_at_once(world: World) -> None:
    world.register()
    world.poll(*CLIENTS)
    world.handle(request())
    world.broken_publishes = 1

    world.deliver()

    assert len(world.published(RoundOpened)) == 1
    assert world.bus.source("dispatcher").depth() == 0


def test_a_lost_publish_of_the_run_s_end_is_found_by_the_redelivery(world: World) -> None:
    world.begin(*CLIENTS)
    world.broken_publishes = 2
    world.hear(stand_ins.held(RUN, 1, now=world.now))
    assert world.published(RunFinished) == []

    world.bus.source("dispatcher").redeliver()
    world.deliver()

    assert len(world.published(RunFinished)) == 1


def test_two_dispatchers_that_hear_the_same_leave_one_outcome(world: World) -> None:
    second = handler_table(world.ports)
    world.register()
    world.poll(*CLIENTS)
    asked = request(rounds=ROUNDS)
    world.handle(asked)
    second[type(asked)]([asked])
    world.deliver()
    hints = world.accept(*CLIENTS)

    world.handle(*hints)
    second[type(hints[0])](hints)
    Sweep(world.ports)()

    assert len(world.published(RoundSealed)) == 1
    assert world.row().state == "SEALED"


def test_every_message_twice_in_any_order_is_once(world: World) -> None:
    begin(world)
    for _ in range(20):
        for delivery in world.bus.source("dispatcher").receive(wait_seconds=0):
            world.bus.source("dispatcher").send(delivery.body)
        world.bus.source("dispatcher").redeliver()
        world.deliver()
        hints = others_take_their_turn(world, CLIENTS)
        world.bus.publish(*reversed(hints), *hints)

    assert world.run().state == "FINISHED"
    world.sweep()
    check_outcome(world)


def test_a_table_that_does_not_answer_leaves_the_message_in_the_queue(world: World) -> None:
    world.register()
    world.flaky.count_from_now()
    world.flaky.refused = set(range(1, 100))

    world.hear(request())

    assert world.bus.source("dispatcher").depth() == 1
    assert world.bus.dead_letters("dispatcher") == []
    world.flaky.refused = set()
    world.bus.source("dispatcher").redeliver()
    world.deliver()
    assert world.run().state == "RUNNING"


def test_others_that_are_faster_each_time_end_in_unavailable(world: World) -> None:
    """A look that always finds more to do does not go on for ever."""
    world.begin("ann", quorum=1)
    world.clock.advance(50)
    world.poll("ann")
    get = world.store.get
    frozen = get(round_key(RUN, 1, 1))

    def stuck(key: Key) -> Any:
        return frozen if key == round_key(RUN, 1, 1) else get(key)

    world.store.get = stuck  # type: ignore[method-assign]
    world.sweep()  # opens, and then finds it PENDING each time

    failures = world.metrics.registry.get_sample_value(
        "rondo_loop_failures_total", {"kind": "sweep", "outcome": "retry"}
    )
    assert failures == 1
