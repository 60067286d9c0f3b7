from datetime import UTC, datetime

import pytest

from rondo_core.cloud_events import decode_event
from rondo_core.errors import Unavailable
from rondo_core.events import Event, RunFinished
from rondo_core.keys import outbox_key, outbox_pk
from rondo_core.outbox import outbox_put, publish_now, relay
from rondo_core.run_store import MAX_CHANGES
from rondo_core.testing import MemoryBus, MemoryRunStore

SERVICE = "dispatcher"


def finished(number: int = 0) -> RunFinished:
    return RunFinished(
        event_id=f"RunFinished/run-{number}",
        run_id=f"run-{number}",
        occurred_at=datetime(2026, 1, 1, tzinfo=UTC),
        state="FINISHED",
        reason="",
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


def test_crash_between_write_and_publish_is_made_good_by_the_relay(
    store: MemoryRunStore, bus: MemoryBus
) -> None:
    store.commit(outbox_put(finished(), service=SERVICE))
    with pytest.raises(Unavailable):
        publish_now([finished()], service=SERVICE, store=store, publish=_DeafBus())
    assert waiting(store) == ["RunFinished/run-0"]

    relayed = relay(service=SERVICE, store=store, publish=bus.publish)

    assert (relayed, bus.published, waiting(store)) == (1, [finished()], [])
    assert relay(service=SERVICE, store=store, publish=bus.publish) == 0


def test_relay_leaves_the_rows_of_other_services(store: MemoryRunStore, bus: MemoryBus) -> None:
    store.commit(outbox_put(finished(), service="evaluator"))

    assert relay(service=SERVICE, store=store, publish=bus.publish) == 0
    assert len(store.query(outbox_pk("evaluator"))) == 1


def test_relay_that_cannot_publish_keeps_the_rows(store: MemoryRunStore) -> None:
    store.commit(outbox_put(finished(), service=SERVICE))

    with pytest.raises(Unavailable):
        relay(service=SERVICE, store=store, publish=_DeafBus())

    assert waiting(store) == ["RunFinished/run-0"]
