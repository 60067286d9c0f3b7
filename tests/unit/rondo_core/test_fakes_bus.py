"""What the fakes do beyond their ports; the ports themselves are held to the contract suites."""

from datetime import UTC, datetime

import numpy as np
import pytest

from rondo_core.events import Event, UpdateSubmitted, VersionCommitted
from rondo_core.testing import ManualClock, MemoryBus
from rondo_core.topology import QUEUES, queue_of

AT = datetime(2026, 1, 1, tzinfo=UTC)


def submitted(number: int) -> UpdateSubmitted:
    return UpdateSubmitted(
        event_id=f"UpdateSubmitted/{number}",
        run_id="r",
        occurred_at=AT,
        round=1,
        attempt=1,
        client_id="c",
        sha256="0a" * 32,
    )


def test_all_that_was_published_can_be_looked_at_in_order() -> None:
    bus, events = MemoryBus(), [submitted(0), submitted(1)]

    bus.publish(*events)

    assert bus.published == events


def test_message_comes_again_when_its_visibility_timeout_is_over() -> None:
    clock = ManualClock()
    bus = MemoryBus(clock)
    bus.publish(submitted(0))
    source = bus.source("aggregator")
    source.receive(wait_seconds=0)

    clock.advance(queue_of("aggregator").visibility_seconds - 1)
    assert source.receive(wait_seconds=0) == []
    clock.advance(1)

    (again,) = source.receive(wait_seconds=0)
    assert again.receives == 2


def test_extended_message_comes_again_a_visibility_timeout_after_the_extension() -> None:
    clock = ManualClock()
    bus = MemoryBus(clock)
    bus.publish(submitted(0))
    source = bus.source("aggregator")
    deliveries = source.receive(wait_seconds=0)
    clock.advance(source.visibility_seconds - 1)

    source.extend(deliveries)

    clock.advance(source.visibility_seconds - 1)
    assert source.receive(wait_seconds=0) == []
    clock.advance(1)
    assert len(source.receive(wait_seconds=0)) == 1


def test_message_that_can_be_seen_again_is_not_hidden_by_its_old_receipt() -> None:
    clock = ManualClock()
    bus = MemoryBus(clock)
    bus.publish(submitted(0))
    source = bus.source("aggregator")
    deliveries = source.receive(wait_seconds=0)
    clock.advance(source.visibility_seconds)

    source.extend(deliveries)

    assert len(source.receive(wait_seconds=0)) == 1


def test_without_a_clock_nothing_comes_again_by_itself_but_on_request() -> None:
    bus = MemoryBus()
    bus.publish(submitted(0), submitted(1))
    source = bus.source("aggregator")
    first, second = source.receive(wait_seconds=0)
    assert source.receive(wait_seconds=0) == []

    source.redeliver([second])
    assert [one.body for one in source.receive(wait_seconds=0)] == [second.body]
    source.redeliver()

    assert {one.body for one in source.receive(wait_seconds=0)} == {first.body, second.body}


def test_generator_shuffles_what_is_received_and_the_seed_repeats_it() -> None:
    def received(seed: int | None) -> list[str]:
        bus = MemoryBus(rng=None if seed is None else np.random.default_rng(seed))
        bus.publish(*(submitted(number) for number in range(10)))
        return [one.body for one in bus.source("aggregator").receive(wait_seconds=0)]

    assert received(7) == received(7)
    assert received(7) != received(None)
    assert sorted(received(7)) == sorted(received(None))


def test_every_source_of_a_service_is_the_same_queue() -> None:
    bus = MemoryBus()
    bus.publish(submitted(0))
    (delivery,) = bus.source("aggregator").receive(wait_seconds=0)

    bus.source("aggregator").acknowledge([delivery])

    assert bus.source("aggregator").depth() == 0


def test_service_without_a_queue_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        MemoryBus().source("gateway")


def test_poison_can_be_put_into_a_queue_past_the_topic() -> None:
    bus = MemoryBus()

    bus.source("evaluator").send("{")

    (delivery,) = bus.source("evaluator").receive(wait_seconds=1)
    assert delivery.body == "{"
    assert bus.published == []


@pytest.mark.parametrize("body", ["{", "[]", '"text"'])
def test_topic_drops_what_is_not_a_json_object(body: str) -> None:
    bus = MemoryBus()

    bus.publish_body(body)

    assert bus.published == []
    assert [bus.source(queue.service).depth() for queue in QUEUES] == [0] * len(QUEUES)


@pytest.mark.parametrize("wait_seconds", [0.0, 20.0])
def test_empty_queue_answers_at_once(wait_seconds: float) -> None:
    source = MemoryBus().source("aggregator")

    assert source.receive(wait_seconds=wait_seconds) == []


def test_published_events_are_copies() -> None:
    bus, metrics = MemoryBus(), {"loss": 1.0}
    event: Event = _committed(metrics)
    bus.publish(event)

    metrics["loss"] = 2.0

    assert bus.published == [_committed({"loss": 1.0})]


def _committed(metrics: dict[str, float]) -> Event:
    return VersionCommitted(
        event_id="e",
        run_id="r",
        occurred_at=AT,
        round=1,
        attempt=1,
        version=1,
        sha256="0a" * 32,
        metrics=metrics,
    )
