"""What follows an end: tokens, the second attempt, the index, the run."""

import pytest
from msgspec import structs

from rondo_core.errors import NotFound
from rondo_core.events import RoundAborted, RoundRequested, RunFinished
from rondo_core.keys import run_key
from rondo_core.run_store import Update
from rondo_dispatcher.domain.ending import MAX_ATTEMPTS, Fail, Succeed, abort, answer, finish
from tests.unit.rondo_dispatcher import stand_ins
from tests.unit.rondo_dispatcher.world import RUN, START, World


def test_a_committed_version_answers_the_token_and_the_next_round_is_asked_for(
    world: World,
) -> None:
    world.begin("ann", "bob", rounds=2)
    world.hear(*world.accept("ann", "bob"))

    world.hear(world.commit())

    assert world.row().state == "COMMITTED"
    assert (world.row().task_tokens, world.row().active) == (frozenset(), None)
    assert (world.row(2).state, world.row(2).base) == ("OPEN", 1)
    assert world.row(2).base_sha256 == world.row(1).result


def test_every_token_of_the_set_is_answered(world: World) -> None:
    world.begin("ann", "bob")
    first = world.workflow.token(RUN)
    world.workflow.time_out(RUN)
    world.deliver()
    second = world.workflow.token(RUN)
    assert world.row().task_tokens == {first, second}
    assert first != second
    world.hear(*world.accept("ann", "bob"))

    world.hear(world.commit())

    assert world.row().task_tokens == frozenset()
    assert world.workflow.token(RUN) not in {first, second}


def test_an_aborted_attempt_fails_its_token_and_the_second_is_asked_for(world: World) -> None:
    world.begin("ann", "bob", quorum=2)
    world.clock.advance(100)
    world.poll("ann", "bob")

    world.sweep()
    world.deliver()

    assert (world.row(1, 1).state, world.row(1, 1).task_tokens) == ("ABORTED", frozenset())
    assert world.row(1, 1).active is None
    assert (world.row(1, 2).state, world.row(1, 2).base) == ("OPEN", 0)
    assert world.run().state == "RUNNING"


def test_the_last_attempt_s_end_is_the_run_s_end(world: World) -> None:
    world.begin("ann", "bob", quorum=2)
    for _ in range(2):
        world.clock.advance(100)
        world.poll("ann", "bob")
        world.sweep()
        world.deliver()

    run = world.run()
    assert (run.state, run.active, run.finished_at) == ("FAILED", None, world.now)
    assert run.reason == f"round 1, attempt 2: {world.row(1, 2).reason}"
    (finished,) = world.published(RunFinished)
    assert (finished.event_id, finished.state, finished.reason) == (
        f"RunFinished/{RUN}",
        "FAILED",
        run.reason,
    )
    assert [event.attempt for event in world.published(RoundAborted)] == [1, 2]
    assert world.workflow.status(RUN) == "FAILED"
    assert world.head() == 0
    assert world.store.active("round") == world.store.active("run") == []


def test_the_state_machine_counts_to_the_same_number_of_attempts(world: World) -> None:
    world.begin("ann", "bob", quorum=2)
    while world.workflow.status(RUN) == "RUNNING":
        world.clock.advance(100)
        world.poll("ann", "bob")
        world.sweep()
        world.deliver()

    attempts = [event.state.attempt for event in world.published(RoundRequested)]
    assert attempts == list(range(1, MAX_ATTEMPTS + 1))


def test_a_second_attempt_can_make_the_version(world: World) -> None:
    world.begin("ann", "bob", quorum=2)
    world.clock.advance(100)
    world.poll("ann", "bob")
    world.sweep()
    world.deliver()
    world.hear(*world.accept("ann", "bob", attempt=2))

    world.hear(world.commit(attempt=2))

    assert world.head() == 1
    assert world.run().state == "RUNNING"


def test_an_attempt_with_a_reported_update_stays_in_the_index_until_its_verdict(
    world: World,
) -> None:
    world.begin("ann", "bob", "eve", target=3, quorum=3)
    stand_ins.report(world.store, (RUN, 1, 1), "eve", now=START)
    world.clock.advance(100)
    world.sweep()
    assert (world.row().state, world.row().task_tokens) == ("ABORTED", frozenset())
    assert world.row().active == "round"

    stand_ins.reject(world.store, (RUN, 1, 1), "eve", now=world.now)
    world.sweep()

    assert world.row().active is None


def test_a_token_that_comes_after_the_end_is_answered_at_once(world: World) -> None:
    world.begin("ann", "bob", quorum=2)
    asked = world.asked(token=world.workflow.token(RUN) or "")
    world.clock.advance(100)
    world.sweep()
    row = world.row()

    world.handle(asked)

    assert world.row() == row
    assert row.task_tokens == frozenset()


def test_version_committed_before_its_row_changes_nothing(world: World) -> None:
    world.begin("ann", "bob")
    world.hear(*world.accept("ann", "bob"))
    event = world.commit()
    rows = world.store.query(f"RUN#{RUN}")
    world.hear(event)
    settled = world.store.query(f"RUN#{RUN}")

    world.hear(event, event)

    assert world.store.query(f"RUN#{RUN}") == settled != rows


def test_the_verdict_promoted_finishes_the_run(world: World) -> None:
    world.begin("ann", "bob")
    world.hear(*world.accept("ann", "bob"))
    world.hear(world.commit())

    world.hear(stand_ins.promoted(RUN, 1, now=world.now))

    run = world.run()
    assert (run.state, run.reason, run.active) == ("FINISHED", "promoted as version 4", None)
    (finished,) = world.published(RunFinished)
    assert (finished.state, finished.reason) == ("FINISHED", "promoted as version 4")
    assert stand_ins.outbox_is_empty(world.store)


def test_the_verdict_held_finishes_the_run_with_its_reason(world: World) -> None:
    world.begin("ann", "bob")
    world.hear(*world.accept("ann", "bob"))
    world.hear(world.commit())

    world.hear(stand_ins.held(RUN, 1, now=world.now))

    assert world.run().state == "FINISHED"
    assert world.run().reason == "held: accuracy 0.5 is below the champion's 0.9"


def test_a_verdict_twice_is_once(world: World) -> None:
    world.begin("ann", "bob")
    verdict = stand_ins.promoted(RUN, 1, now=world.now)

    world.hear(verdict, verdict)
    world.hear(verdict)

    assert len(world.published(RunFinished)) == 1


def test_a_verdict_on_another_version_than_the_last_does_not_end_the_run(world: World) -> None:
    world.begin("ann", "bob", rounds=3)

    world.hear(stand_ins.promoted(RUN, 2, now=world.now))

    assert world.run().state == "RUNNING"


def test_a_verdict_on_a_failed_run_changes_nothing(world: World) -> None:
    world.begin("ann", "bob")
    world.store.commit(Update(run_key(RUN), assign={"state": "FAILED"}))

    assert finish(world.run(), stand_ins.held(RUN, 1, now=START), now=START) is None


def test_a_verdict_on_an_unknown_run_is_dead_lettered(world: World) -> None:
    with pytest.raises(NotFound, match="RUN#nobody/META"):
        world.handle(stand_ins.promoted("nobody", 1, now=START))


def test_a_committed_attempt_answers_success_whatever_head_was_read_before(world: World) -> None:
    world.begin("ann", "bob")
    world.hear(*world.accept("ann", "bob"))
    world.commit()

    assert answer(world.row(), head=0) == Succeed(1)


def test_the_second_attempt_of_a_round_that_has_its_version_is_answered_at_once(
    world: World,
) -> None:
    world.begin("ann", "bob", rounds=2)
    world.hear(*world.accept("ann", "bob"))
    world.commit()
    rows = world.store.query(f"RUN#{RUN}")

    world.hear(world.asked(attempt=2))

    assert world.store.query(f"RUN#{RUN}") == rows
    assert world.bus.dead_letters("dispatcher") == []


def test_the_end_of_the_last_attempt_does_not_end_a_cancelled_run_again(world: World) -> None:
    world.begin("ann", "bob")
    row = structs.replace(world.row(), attempt=MAX_ATTEMPTS)
    cancelled = structs.replace(world.run(), state="CANCELLED")

    plan = abort(row, "cancelled", run=cancelled, head=0, now=START)

    assert run_key(RUN) not in {change.key for change in plan.changes}
    assert [type(event) for event in plan.events] == [RoundAborted]


def test_a_round_whose_clients_were_all_accepted_is_settled_without_a_query(world: World) -> None:
    world.begin("ann", "bob")
    world.hear(*world.accept("ann", "bob"))
    event = world.commit()
    queries: list[str] = []
    query = world.store.query
    world.store.query = lambda pk, prefix="": queries.append(pk) or query(pk, prefix)  # type: ignore[method-assign,func-returns-value]

    world.handle(event)

    assert queries == []
    assert (world.row().task_tokens, world.row().active) == (frozenset(), None)


def test_an_aborted_attempt_of_a_round_that_has_its_version_answers_success(world: World) -> None:
    world.begin("ann", "bob", quorum=2)
    world.clock.advance(100)
    world.sweep()

    assert answer(world.row(), head=0) == Fail(world.row().reason or "")
    assert answer(world.row(), head=1) == Succeed(1)
