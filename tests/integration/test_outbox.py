"""A service's outbox against a topic that refuses one of its events: the others are delivered."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from rondo_core.cloud_events import decode_event
from rondo_core.errors import EventsRefused
from rondo_core.events import Event, RoundAborted, RoundSealed
from rondo_core.keys import aside_key, aside_pk, outbox_pk
from rondo_core.outbox import outbox_put
from rondo_core.rows import SetAsideRow, from_item
from rondo_core.run_store import Delete
from rondo_local.processes import Supervisor
from tests.emulators import Aws
from tests.integration.dispatcher_stack import DispatcherStack, eventually

SERVICE = "dispatcher"
AT = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.fixture
def stack(aws: Aws, tmp_path: Path) -> Iterator[DispatcherStack]:
    with Supervisor(tmp_path / "logs") as supervisor:
        yield DispatcherStack(aws, supervisor)


def sealed(run_id: str) -> RoundSealed:
    return RoundSealed(
        event_id=f"RoundSealed/{run_id}/1/1",
        run_id=run_id,
        occurred_at=AT,
        round=1,
        attempt=1,
        manifest="ab" * 32,
        updates=2,
    )


def aborted(reason: str) -> RoundAborted:
    return RoundAborted(
        event_id="RoundAborted/first/1/1",
        run_id="first",
        occurred_at=AT,
        round=1,
        attempt=1,
        reason=reason,
    )


def test_an_event_that_the_topic_refuses_is_set_aside_and_those_after_it_are_delivered(
    stack: DispatcherStack,
) -> None:
    store, others = stack.ports.run_store, [sealed(f"run-{number:02d}") for number in range(12)]
    refused = aborted("x" * 256 * 1024)
    with pytest.raises(EventsRefused):  # so it is the topic that says so
        stack.ports.publish("rondo/test")(refused)
    events: list[Event] = [refused, *others]
    for event in events:
        store.commit(outbox_put(event, service=SERVICE))
    first, *_ = store.query(outbox_pk(SERVICE))
    assert first["SK"] == refused.event_id

    stack.start()

    assert heard(stack, 12) == {event.event_id: event for event in others}
    (item,) = eventually(lambda: store.query(aside_pk(SERVICE)), stack.log)
    eventually(lambda: store.query(outbox_pk(SERVICE)) == [], stack.log)
    row = from_item(item, SetAsideRow)
    assert decode_event(row.body) == refused
    assert row.reason
    assert '"event set aside"' in stack.log()
    counted = 'rondo_events_set_aside_total{kind="RoundAborted",outcome="ok"} 1.0'
    eventually(lambda: counted in stack.metrics(), stack.metrics)


def test_an_event_that_was_set_aside_is_published_when_it_is_put_back(
    stack: DispatcherStack,
) -> None:
    store, key = stack.ports.run_store, aside_key(SERVICE, "RoundAborted/first/1/1")
    store.commit(outbox_put(aborted("x" * 256 * 1024), service=SERVICE))
    stack.start()
    eventually(lambda: store.get(key), stack.log)

    store.commit(outbox_put(aborted("shorter"), service=SERVICE), Delete(key))

    eventually(lambda: store.query(outbox_pk(SERVICE)) == [], stack.log)
    assert store.get(key) is None


def heard(stack: DispatcherStack, count: int) -> dict[str, Event]:
    """Receive from the aggregator's queue until it gave so many events; each once."""
    source, events = stack.ports.event_source("aggregator"), dict[str, Event]()

    def complete() -> bool:
        for delivery in source.receive(wait_seconds=1):
            event = decode_event(delivery.body)
            events[event.event_id] = event
            source.acknowledge([delivery])
        return len(events) >= count

    eventually(complete, stack.log)
    return events
