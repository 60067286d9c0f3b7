"""What is left in an outbox is published, whatever else is in it."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rondo_core.cloud_events import decode_event
from rondo_core.errors import Invalid, Unavailable
from rondo_core.events import Event, RunFinished
from rondo_core.keys import aside_key, aside_pk, outbox_key, outbox_pk
from rondo_core.outbox import outbox_put
from rondo_core.relay import PATIENCE_SECONDS, relay
from rondo_core.rows import SetAsideRow, from_item
from rondo_core.run_store import MAX_CHANGES, Change, Delete, Update
from rondo_core.telemetry import Metrics
from rondo_core.testing import ManualClock, MemoryBus, MemoryRunStore
from rondo_core.testing.bus import LARGEST_MESSAGE_BYTES

SERVICE = "dispatcher"


def finished(number: int, *, reason: str = "") -> RunFinished:
    return RunFinished(
        event_id=f"RunFinished/run-{number:03d}",
        run_id=f"run-{number:03d}",
        occurred_at=datetime(2026, 1, 1, tzinfo=UTC),
        state="FINISHED",
        reason=reason,
    )


def too_long(number: int) -> RunFinished:
    return finished(number, reason="x" * LARGEST_MESSAGE_BYTES)


@dataclass
class World:
    """A service's outbox, and a topic that is told what it does with an event."""

    store: MemoryRunStore = field(default_factory=MemoryRunStore)
    bus: MemoryBus = field(default_factory=MemoryBus)
    clock: ManualClock = field(default_factory=ManualClock)
    metrics: Metrics = field(default_factory=Metrics)
    fails: Callable[[Event], bool] = lambda _: False
    answer_seconds: float = 0.0
    calls: int = 0

    def keep(self, *events: Event) -> None:
        for event in events:
            self.store.commit(outbox_put(event, service=SERVICE))

    def publish(self, *events: Event) -> None:
        """Take none of a call that has one in it that fails, as a topic that breaks off."""
        self.calls += 1
        self.clock.sleep(self.answer_seconds)
        if any(self.fails(event) for event in events):
            raise Unavailable("the topic does not answer")
        self.bus.publish(*events)

    def relay(self) -> int:
        return relay(
            service=SERVICE,
            store=self.store,
            publish=self.publish,
            clock=self.clock,
            metrics=self.metrics,
        )

    def waiting(self) -> list[str]:
        return [str(item["SK"]) for item in self.store.query(outbox_pk(SERVICE))]

    def aside(self) -> list[str]:
        return [str(item["SK"]) for item in self.store.query(aside_pk(SERVICE))]

    def published(self) -> list[str]:
        return [event.event_id for event in self.bus.published]

    def counted(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(name, labels) or 0.0


@pytest.fixture
def world() -> World:
    return World()


def test_what_a_crash_left_is_published_once(world: World) -> None:
    world.keep(finished(0))

    assert (world.relay(), world.bus.published, world.waiting()) == (1, [finished(0)], [])
    assert (world.relay(), world.bus.published) == (0, [finished(0)])


def test_rows_of_other_services_are_left_to_them(world: World) -> None:
    world.store.commit(outbox_put(finished(0), service="evaluator"))

    assert world.relay() == 0
    assert len(world.store.query(outbox_pk("evaluator"))) == 1


def test_when_nothing_can_be_published_the_rows_stay_and_the_caller_is_told(world: World) -> None:
    world.keep(finished(0))
    world.fails = lambda _: True

    with pytest.raises(Unavailable):
        world.relay()

    assert (world.waiting(), world.aside()) == (["RunFinished/run-000"], [])


def test_an_event_that_the_topic_refuses_is_set_aside_and_the_others_are_published(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.keep(finished(0), too_long(1), finished(2))
    world.clock.advance(60)

    world.relay()

    assert world.published() == ["RunFinished/run-000", "RunFinished/run-002"]
    assert (world.waiting(), world.aside()) == ([], ["RunFinished/run-001"])
    item = world.store.get(aside_key(SERVICE, "RunFinished/run-001"))
    assert item is not None
    row = from_item(item, SetAsideRow)
    assert decode_event(row.body) == too_long(1)
    assert f"bytes are over {LARGEST_MESSAGE_BYTES}" in row.reason
    assert row.set_aside_at == datetime(2026, 1, 1, 0, 1, tzinfo=UTC)
    labels = {"kind": "RunFinished", "outcome": "ok"}
    assert world.counted("rondo_events_set_aside_total", **labels) == 1
    (told,) = [one for one in caplog.records if one.message == "event set aside"]
    assert told.levelno == logging.ERROR
    assert vars(told)["event_id"] == "RunFinished/run-001"
    assert vars(told)["run_id"] == "run-001"
    assert vars(told)["reason"] == row.reason


def test_what_was_set_aside_is_not_tried_again_until_a_person_puts_it_back(world: World) -> None:
    event = too_long(0)
    world.keep(event)
    world.relay()
    calls = world.calls

    assert world.relay() == 0
    assert world.calls == calls

    mended = outbox_put(finished(0), service=SERVICE)
    world.store.commit(mended, Delete(aside_key(SERVICE, event.event_id)))
    assert world.relay() == 1
    assert (world.bus.published, world.waiting(), world.aside()) == ([finished(0)], [], [])


@given(
    failing=st.sets(st.integers(0, 24)),
    refused=st.sets(st.integers(0, 24)),
)
def test_every_event_that_can_be_published_is_in_one_pass_whatever_is_around_it(
    failing: set[int], refused: set[int]
) -> None:
    world = World()
    refused -= failing
    world.keep(*(too_long(n) if n in refused else finished(n) for n in range(25)))
    names = {n: f"RunFinished/run-{n:03d}" for n in range(25)}
    stuck = {names[n] for n in failing}
    world.fails = lambda event: event.event_id in stuck

    if failing:
        with pytest.raises(Unavailable):
            world.relay()
    else:
        assert world.relay() == 25

    assert set(world.waiting()) == stuck
    assert world.aside() == sorted(names[n] for n in refused)
    assert sorted(world.published()) == [
        names[n] for n in range(25) if n not in failing and n not in refused
    ]


def test_what_fails_once_and_then_does_not_is_no_failure(world: World) -> None:
    world.keep(finished(0), finished(1))
    world.fails = lambda _: world.calls == 1

    assert world.relay() == 2
    assert world.waiting() == []


def test_a_topic_that_is_away_is_not_asked_for_every_event(world: World) -> None:
    world.keep(*(finished(number) for number in range(64)))
    world.fails = lambda _: True
    world.answer_seconds = PATIENCE_SECONDS / 2

    with pytest.raises(Unavailable):
        world.relay()

    assert world.calls == 3
    assert len(world.waiting()) == 64


@pytest.mark.parametrize("body", ["{}", 7])
def test_a_row_that_cannot_be_read_stays_and_keeps_no_other_waiting(
    world: World, body: str | int
) -> None:
    world.keep(finished(0), finished(1))
    world.store.commit(
        Update(outbox_key(SERVICE, "RunFinished/run-000"), assign={"body": body}),
    )

    assert world.relay() == 1

    assert world.published() == ["RunFinished/run-001"]
    assert (world.waiting(), world.aside()) == (["RunFinished/run-000"], [])
    labels = {"kind": "relay", "outcome": "invalid"}
    assert world.counted("rondo_loop_failures_total", **labels) == 1


def test_a_row_that_another_replica_set_aside_meanwhile_is_counted_there(world: World) -> None:
    world.keep(too_long(0), finished(1))
    key = outbox_key(SERVICE, "RunFinished/run-000")
    publish = world.publish

    def beaten(*events: Event) -> None:
        world.store.commit(Delete(key))
        publish(*events)

    relay(
        service=SERVICE,
        store=world.store,
        publish=beaten,
        clock=world.clock,
        metrics=world.metrics,
    )

    assert world.published() == ["RunFinished/run-001"]
    assert world.aside() == []
    labels = {"kind": "RunFinished", "outcome": "ok"}
    assert world.counted("rondo_events_set_aside_total", **labels) == 0


def test_a_row_that_has_no_room_for_the_reason_stays_and_keeps_no_other_waiting() -> None:
    class FullStore(MemoryRunStore):
        """As a table whose row is over 400 KB with the reason."""

        def commit(self, *changes: Change) -> None:
            if any(one.key == aside_key(SERVICE, "RunFinished/run-000") for one in changes):
                raise Invalid("item size has exceeded the maximum")
            super().commit(*changes)

    world = World(store=FullStore())
    world.keep(too_long(0), too_long(1))

    world.relay()

    assert (world.waiting(), world.aside()) == (["RunFinished/run-000"], ["RunFinished/run-001"])


def test_more_events_than_one_commit_takes_are_all_published(world: World) -> None:
    world.keep(*(finished(number) for number in range(MAX_CHANGES + 1)))

    assert world.relay() == MAX_CHANGES + 1
    assert world.waiting() == []
