"""Calls of many threads that come at once, made as few.

The clients of a round declare and report within a moment. Who comes while a call is running waits
for its end, and then one call serves all who came meanwhile: nobody waits for a timer.
"""

import threading
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Generic, TypeVar

from rondo_core.bus import Publish
from rondo_core.errors import EventsRefused
from rondo_core.events import Event
from rondo_core.run_store import Item, Key, RunStore
from rondo_core.tracing import resumed, traceparent

__all__ = ["Grouped", "GroupedPublish", "SharedReads"]

One = TypeVar("One")
Result = TypeVar("Result")

_Call = tuple[str, tuple[Event, ...]]
"""The span of who calls, and what it publishes."""

KEYS = 1024


@dataclass(slots=True)
class _Batch(Generic[One, Result]):
    items: list[One] = field(default_factory=list)
    done: bool = False
    result: list[Result] = field(default_factory=list)
    error: Exception | None = None


class Grouped(Generic[One, Result]):
    """Runs one call at a time, each for all items that came since the one before began.

    Args:
        run: makes the call; its result or error is everybody's.
    """

    def __init__(self, run: Callable[[Sequence[One]], Result]) -> None:
        self._run = run
        self._open: _Batch[One, Result] = _Batch()
        self._lock = threading.Lock()
        self._turn = threading.Lock()

    def __call__(self, item: One) -> Result:
        """Join the next call; blocks until it is made. The call begins after the item came."""
        with self._lock:
            batch = self._open
            batch.items.append(item)
        with self._turn:
            if not batch.done:
                self._serve(batch)
        if batch.error is not None:
            raise batch.error
        return batch.result[0]

    def _serve(self, batch: _Batch[One, Result]) -> None:
        with self._lock:
            self._open = _Batch()
        try:
            batch.result.append(self._run(batch.items))
        except Exception as exc:  # noqa: BLE001  (it is raised again by everyone who joined)
            batch.error = exc
        batch.done = True


class GroupedPublish:
    """A ``Publish`` that sends what several threads publish at once in one batch.

    Args:
        publish: the real one.
    """

    def __init__(self, publish: Publish) -> None:
        self._grouped: Grouped[_Call, Mapping[str, str]] = Grouped(partial(_publish_all, publish))

    def __call__(self, *events: Event) -> None:
        """Publish events.

        Where another thread's event was not accepted, this call fails too; not so where the topic
        will never take the other's.
        """
        refused = self._grouped((traceparent(), events))
        own = {one.event_id: refused[one.event_id] for one in events if one.event_id in refused}
        if own:
            raise EventsRefused(own)


class SharedReads:
    """Strong reads of one row that several threads want at once, made once.

    Args:
        store: where the rows are.
    """

    def __init__(self, store: RunStore) -> None:
        self._store = store
        self._by_key: dict[Key, Grouped[None, Item | None]] = {}
        self._lock = threading.Lock()

    def get(self, key: Key) -> Item | None:
        """Return a row as it is after this call began; it is shared, so nobody may change it.

        Raises:
            Unavailable: no answer.
        """
        with self._lock:
            while len(self._by_key) >= KEYS:
                self._by_key.pop(next(iter(self._by_key)))
            grouped = self._by_key.setdefault(key, Grouped(lambda _: self._store.get(key)))
        return grouped(None)


def _publish_all(publish: Publish, calls: Sequence[_Call]) -> Mapping[str, str]:
    """Publish all at once, or, where calls are traced, the events of each trace.

    Returns:
        What the topic will never take: event id -> why.
    """
    refused: dict[str, str] = {}
    by_trace: dict[str, list[Event]] = defaultdict(list)
    for trace, events in calls:
        by_trace[trace] += events
    for trace, of_trace in by_trace.items():
        with resumed(trace):
            try:
                publish(*of_trace)
            except EventsRefused as exc:
                refused |= exc.reasons
    return refused
