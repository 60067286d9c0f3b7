"""Drive a whole run on fakes: whoever is not the dispatcher does the next thing that is due."""

from contextlib import suppress

from rondo_core.cloud_events import decode_event
from rondo_core.errors import Conflict
from rondo_core.events import EvaluationRequested, Event
from rondo_core.keys import UPDATE_PREFIX, attempt_pk
from rondo_core.rows import RoundRow, UpdateRow, from_item
from rondo_core.testing import MemoryWorkflow
from tests.unit.rondo_dispatcher import stand_ins
from tests.unit.rondo_dispatcher.world import RUN, World

Attempt = tuple[str, int, int]


def others_take_their_turn(world: World, clients: tuple[str, ...]) -> list[Event]:
    """Poll, report, judge, combine and evaluate whatever is due; return the hints, unpublished."""
    world.poll(*clients)
    hints: list[Event] = []
    for item in world.store.active("round"):
        row = from_item(item, RoundRow)
        hints += _judge_and_combine(world, row)
    source = world.bus.source("evaluator")
    for delivery in source.receive(wait_seconds=0):
        event = decode_event(delivery.body)
        assert isinstance(event, EvaluationRequested)
        MemoryWorkflow.succeed(world.workflow, event.task_token, {})  # past any injected fault
        hints.append(stand_ins.promoted(RUN, event.state.round, now=world.now))
        source.acknowledge([delivery])
    return hints


def _judge_and_combine(world: World, row: RoundRow) -> list[Event]:
    of, hints = (row.run_id, row.round, row.attempt), list[Event]()
    known = {update.client_id for update in updates(world, of)}
    if row.state == "OPEN":
        for client in sorted(set(row.clients) - known):
            stand_ins.report(world.store, of, client, now=world.now)
            hints.append(stand_ins.accept(world.store, of, client, now=world.now))
    with suppress(Conflict):
        hints.append(stand_ins.commit_version(world.store, world.models, of, now=world.now))
    return hints


def updates(world: World, of: Attempt) -> list[UpdateRow]:
    items = world.store.query(attempt_pk(*of), UPDATE_PREFIX)
    return [from_item(item, UpdateRow) for item in items]
