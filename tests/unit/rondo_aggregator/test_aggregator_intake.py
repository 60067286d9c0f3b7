"""From messages to tasks, and what Celery is told."""

from datetime import UTC, datetime

import pytest
from kombu.exceptions import OperationalError

from rondo_aggregator.adapters.celery_app import new_app
from rondo_aggregator.adapters.celery_jobs import CeleryJobs
from rondo_aggregator.domain.attempt import Attempt
from rondo_aggregator.handlers.intake import intake_handlers
from rondo_core.consumer import consume_once
from rondo_core.errors import Unavailable
from rondo_core.events import RoundSealed, UpdateSubmitted
from rondo_core.telemetry import Metrics
from rondo_core.topology import QUEUES
from tests.unit.rondo_aggregator.aggregator_world import World, memory_settings
from tests.unit.rondo_aggregator.round_rows import ATTEMPT

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def submitted(client: str, *, round_: int = 1) -> UpdateSubmitted:
    return UpdateSubmitted(
        event_id=f"UpdateSubmitted/run-1/{round_}/1/{client}",
        run_id="run-1",
        occurred_at=NOW,
        round=round_,
        attempt=1,
        client_id=client,
        sha256="0" * 64,
    )


def sealed() -> RoundSealed:
    return RoundSealed(
        event_id="RoundSealed/run-1/1/1",
        run_id="run-1",
        occurred_at=NOW,
        round=1,
        attempt=1,
        manifest="a" * 64,
        updates=3,
    )


def receive(world: World) -> int:
    """Handle one batch of the aggregator's queue, and say what was not acknowledged."""
    source = world.bus.source("aggregator")
    consume_once(source, intake_handlers(world.jobs), Metrics(), wait_seconds=0)
    return source.depth()


def test_updates_received_together_are_one_task_a_round(world: World) -> None:
    world.bus.publish(
        submitted("bob"), submitted("ada"), submitted("ada", round_=2), submitted("bob")
    )

    left = receive(world)

    assert left == 0
    assert [(task.task, task.attempt, task.arguments) for task in world.asked()] == [
        ("rondo.validate", ATTEMPT, {"clients": ["ada", "bob"]}),
        ("rondo.validate", Attempt("run-1", 2, 1), {"clients": ["ada"]}),
    ]


def test_a_sealed_round_is_one_task_however_often_it_is_told(world: World) -> None:
    world.bus.publish(sealed(), sealed())

    left = receive(world)

    assert left == 0
    assert [(task.task, task.attempt, task.arguments) for task in world.asked()] == [
        ("rondo.combine", ATTEMPT, {"take_over": None})
    ]


def test_every_event_of_the_aggregators_queue_has_a_handler(world: World) -> None:
    (queue,) = [spec for spec in QUEUES if spec.service == "aggregator"]

    assert set(intake_handlers(world.jobs)) == set(queue.receives)


def test_messages_are_acknowledged_without_a_broker_since_the_rows_are_the_truth(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OperationalError("connection refused")

    monkeypatch.setattr(world.app, "send_task", refuse)
    world.bus.publish(submitted("ada"), sealed())

    assert receive(world) == 0
    assert world.bus.dead_letters("aggregator") == []


def test_a_broker_that_is_away_is_unavailable_and_says_for_what(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OperationalError("connection refused")

    monkeypatch.setattr(world.app, "send_task", refuse)

    with pytest.raises(Unavailable, match=r"rondo\.combine of \('run-1', 1, 1\)"):
        CeleryJobs(world.app).combine(ATTEMPT)


def test_tasks_are_acknowledged_late_and_come_back_after_twice_their_limit() -> None:
    conf = new_app(memory_settings()).conf

    assert (conf.task_acks_late, conf.task_reject_on_worker_lost) == (True, True)
    assert conf.worker_prefetch_multiplier == 1
    assert conf.task_time_limit == 60
    assert conf.broker_transport_options["visibility_timeout"] == 120
    assert conf.broker_transport_options["unacked_restore_interval"] == 5
    assert conf.broker_transport_options["unacked_restore_throttle"] == 1


def test_tasks_are_json_and_have_no_result() -> None:
    conf = new_app(memory_settings()).conf

    assert conf.accept_content == ["json"]
    assert conf.task_serializer == "json"
    assert conf["result_backend"] is None
    assert conf.task_ignore_result is True


def test_two_stacks_on_one_redis_have_queues_of_their_own() -> None:
    first, second = new_app(memory_settings()), new_app(memory_settings())

    assert first.conf.task_default_queue != second.conf.task_default_queue
