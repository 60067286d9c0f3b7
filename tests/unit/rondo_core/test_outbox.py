from datetime import UTC, datetime

import pytest

from rondo_core.cloud_events import decode_event
from rondo_core.errors import Unavailable
from rondo_core.events import Event, RunFinished
from rondo_core.keys import outbox_key, outbox_pk
from rondo_core.outbox import outbox_put, publish_now
from rondo_core.run_store import MAX_CHANGES
from rondo_core.testing import MemoryBus, MemoryRunStore
from rondo_core.testing.bus import LARGEST_MESSAGE_BYTES

SERVICE = "dispatcher"


def finished(number: int = 0, *, reason: str = "") -> RunFinished:
    return RunFinished(
        event_id=f"RunFinished/run-{number}",
        run_id=f"run-{number}",
        occurred_at=datetime(2026, 1, 1, tzinfo=UTC),
        state="FINISHED",
        reason=reason,
    )


class _DeafBus:
    """A topic that does not answer."""

    def __call__(self, *events: Event) -> None:
        raise Unavailable(f"{len(events)} events")


@pytest.fixture
def store() -> MemoryRunStore:
    return MemoryRunStore()


@pytest.fixture
def bus() -> MemoryBus:
    return MemoryBus()


def waiting(store: MemoryRunStore) -> list[str]:
    return [str(item["SK"]) for item in store.query(outbox_pk(SERVICE))]


def test_row_holds_the_whole_event(store: MemoryRunStore) -> None:
    store.commit(outbox_put(finished(), service=SERVICE))

    item = store.get(outbox_key(SERVICE, "RunFinished/run-0"))
    assert item is not None
    assert decode_event(str(item["body"])) == finished()
    assert '"source":"rondo/dispatcher"' in str(item["body"])


def test_same_event_twice_is_one_row(store: MemoryRunStore) -> None:
    store.commit(outbox_put(finished(), service=SERVICE))
    store.commit(outbox_put(finished(), service=SERVICE))

    assert waiting(store) == ["RunFinished/run-0"]


def test_what_is_published_is_no_longer_waiting(store: MemoryRunStore, bus: MemoryBus) -> None:
    store.commit(*(outbox_put(finished(number), service=SERVICE) for number in range(2)))

    publish_now([finished(0)], service=SERVICE, store=store, publish=bus.publish)

    assert bus.published == [finished(0)]
    assert waiting(store) == ["RunFinished/run-1"]


def test_publishing_twice_leaves_the_same_rows(store: MemoryRunStore, bus: MemoryBus) -> None:
    store.commit(outbox_put(finished(), service=SERVICE))

    for _ in range(2):
        publish_now([finished()], service=SERVICE, store=store, publish=bus.publish)

    assert bus.published == [finished(), finished()]
    assert waiting(store) == []


def test_nothing_to_publish_touches_nothing(store: MemoryRunStore) -> None:
    publish_now([], service=SERVICE, store=store, publish=_DeafBus())


def test_more_events_than_one_commit_takes_are_all_dropped(
    store: MemoryRunStore, bus: MemoryBus
) -> None:
    events = [finished(number) for number in range(2 * MAX_CHANGES + 1)]
    for event in events:
        store.commit(outbox_put(event, service=SERVICE))

    publish_now(events, service=SERVICE, store=store, publish=bus.publish)

    assert len(bus.published) == 2 * MAX_CHANGES + 1
    assert waiting(store) == []


def test_what_the_topic_refuses_stays_for_the_relay_and_nothing_else_does(
    store: MemoryRunStore, bus: MemoryBus
) -> None:
    events = [finished(0), finished(1, reason="x" * LARGEST_MESSAGE_BYTES), finished(2)]
    store.commit(*(outbox_put(event, service=SERVICE) for event in events))

    refused = publish_now(events, service=SERVICE, store=store, publish=bus.publish)

    assert list(refused) == waiting(store) == ["RunFinished/run-1"]
    assert f"bytes are over {LARGEST_MESSAGE_BYTES}" in refused["RunFinished/run-1"]
    assert bus.published == [finished(0), finished(2)]


def test_what_was_not_published_stays(store: MemoryRunStore) -> None:
    store.commit(outbox_put(finished(), service=SERVICE))

    with pytest.raises(Unavailable):
        publish_now([finished()], service=SERVICE, store=store, publish=_DeafBus())

    assert waiting(store) == ["RunFinished/run-0"]
