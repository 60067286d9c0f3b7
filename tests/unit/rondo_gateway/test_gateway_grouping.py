import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from datetime import UTC, datetime

import pytest

from rondo_core.errors import EventsRefused, Unavailable
from rondo_core.events import Event, RunFinished
from rondo_core.run_store import Item, Key, Put
from rondo_core.testing import MemoryRunStore
from rondo_gateway.handlers import grouping
from rondo_gateway.handlers.grouping import Grouped, GroupedPublish, SharedReads

TIMEOUT = 10
KEY = Key("a", "b")


def finished(name: str) -> RunFinished:
    at = datetime(2026, 1, 2, tzinfo=UTC)
    return RunFinished(event_id=name, run_id="r", occurred_at=at, state="FINISHED", reason="")


class Gate:
    """Records what is run, and keeps the first call until it is let through."""

    def __init__(self) -> None:
        self.began = threading.Event()
        self.go_on = threading.Event()
        self.calls: list[list[str]] = []

    def run(self, items: Sequence[str]) -> int:
        self.calls.append(list(items))
        self.began.set()
        assert self.go_on.wait(TIMEOUT)
        return len(items)


def joined(
    grouped: Grouped[str, int], threads: ThreadPoolExecutor, *items: str
) -> list[Future[int]]:
    """Let threads call, and return when all of them have joined a batch."""
    before = len(grouped._open.items)  # noqa: SLF001  (there is no other sign of it)
    futures = [threads.submit(grouped, item) for item in items]
    while len(grouped._open.items) < before + len(items):  # noqa: SLF001
        wait(futures, timeout=0.001)
    return futures


def test_who_comes_during_a_call_is_served_together_by_the_next() -> None:
    gate = Gate()
    grouped = Grouped(gate.run)
    with ThreadPoolExecutor(8) as threads:
        first = threads.submit(grouped, "first")
        assert gate.began.wait(TIMEOUT)
        others = joined(grouped, threads, "b", "c", "d")
        gate.go_on.set()

        results = [future.result(TIMEOUT) for future in [first, *others]]

    assert gate.calls[0] == ["first"]
    assert [sorted(call) for call in gate.calls[1:]] == [["b", "c", "d"]]
    assert results == [1, 3, 3, 3]


def test_calls_one_after_another_are_not_grouped() -> None:
    gate = Gate()
    gate.go_on.set()
    grouped = Grouped(gate.run)

    results = [grouped(item) for item in "abc"]

    assert results == [1, 1, 1]
    assert gate.calls == [["a"], ["b"], ["c"]]


def test_an_error_is_everybodys_and_is_forgotten_by_the_next_call() -> None:
    def run(items: Sequence[str]) -> int:
        if "bad" in items:
            raise Unavailable("no answer")
        return 1

    grouped = Grouped(run)

    with pytest.raises(Unavailable):
        grouped("bad")
    assert grouped("good") == 1


def test_events_of_several_threads_go_out_whole_and_in_one_batch() -> None:
    sent: list[tuple[Event, ...]] = []
    publish = GroupedPublish(lambda *events: sent.append(events))
    events = [finished(name) for name in "ab"]

    publish(*events)

    assert sent == [tuple(events)]


def test_an_event_that_the_topic_refuses_fails_its_own_call_alone() -> None:
    began, go_on = threading.Event(), threading.Event()
    sent: list[list[str]] = []

    def topic(*events: Event) -> None:
        names = [event.event_id for event in events]
        sent.append(sorted(names))
        began.set()
        assert go_on.wait(TIMEOUT)
        if "bad" in names:
            raise EventsRefused({"bad": "too long"})

    publish = GroupedPublish(topic)
    with ThreadPoolExecutor(3) as threads:
        first = threads.submit(publish, finished("first"))
        assert began.wait(TIMEOUT)
        others = {name: threads.submit(publish, finished(name)) for name in ("good", "bad")}
        grouped = publish._grouped  # noqa: SLF001  (there is no other sign of it)
        while len(grouped._open.items) < 2:  # noqa: SLF001
            wait(others.values(), timeout=0.001)
        go_on.set()

        first.result(TIMEOUT)
        others["good"].result(TIMEOUT)
        with pytest.raises(EventsRefused) as told:
            others["bad"].result(TIMEOUT)

    assert told.value.reasons == {"bad": "too long"}
    assert sent == [["first"], ["bad", "good"]]


def test_a_row_that_is_wanted_again_is_read_again() -> None:
    store = MemoryRunStore()
    reads = SharedReads(store)

    before = reads.get(KEY)
    store.commit(Put(KEY, {"n": 1}))
    after = reads.get(KEY)

    assert before is None
    assert after == {"PK": "a", "SK": "b", "n": 1}


def test_readers_of_other_rows_do_not_wait_for_each_other() -> None:
    began, go_on = threading.Event(), threading.Event()

    class SlowStore(MemoryRunStore):
        def get(self, key: Key) -> Item | None:
            if key == KEY:
                began.set()
                assert go_on.wait(TIMEOUT)
            return super().get(key)

    reads = SharedReads(SlowStore())
    with ThreadPoolExecutor(1) as threads:
        slow = threads.submit(reads.get, KEY)
        assert began.wait(TIMEOUT)

        quick = reads.get(Key("a", "other"))

        go_on.set()
        assert slow.result(TIMEOUT) is quick is None


def test_the_rows_that_were_read_are_not_remembered_without_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(grouping, "KEYS", 2)
    reads = SharedReads(MemoryRunStore())

    for number in range(5):
        reads.get(Key("a", str(number)))

    assert len(reads._by_key) == 2  # noqa: SLF001  (what grows is nowhere else to be seen)
