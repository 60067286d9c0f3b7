"""A dispatcher on fakes, with everybody it talks to: what most tests of its handlers begin with."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from rondo_core.clock import Clock
from rondo_core.consumer import consume_once
from rondo_core.errors import Unavailable
from rondo_core.events import Event, RoundRequested, RunProgress, RunRequested
from rondo_core.keys import gate_key, head_key, round_key, run_key
from rondo_core.model_store import ModelStore
from rondo_core.rows import HeadRow, RoundRow, RunRow, from_item
from rondo_core.run_store import Change, Item, Key, RunStore
from rondo_core.telemetry import Metrics
from rondo_core.testing import (
    ManualClock,
    MemoryBus,
    MemoryModelStore,
    MemoryRunStore,
    MemoryWorkflow,
)
from rondo_dispatcher.handlers.ports import Ports
from rondo_dispatcher.handlers.sweeping import Sweep
from rondo_dispatcher.handlers.table import handler_table
from tests.unit.rondo_dispatcher import stand_ins

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
RUN = "run-1"


class FlakyRunStore:
    """The dispatcher's way to the table; loses answers of the commits whose number it is told.

    Attributes:
        refused: commits that are not made and not answered.
        lost: commits that are made and not answered.
        commits: what was committed, in order.
    """

    def __init__(self, table: MemoryRunStore) -> None:
        self._table = table
        self.refused: set[int] = set()
        self.lost: set[int] = set()
        self.commits: list[tuple[Change, ...]] = []
        self._count = 0

    def count_from_now(self) -> None:
        self._count = 0

    def get(self, key: Key) -> Item | None:
        return self._table.get(key)

    def query(self, pk: str, prefix: str = "") -> list[Item]:
        return self._table.query(pk, prefix)

    def active(self, kind: str) -> list[Item]:
        return self._table.active(kind)

    def commit(self, *changes: Change) -> None:
        self._count += 1
        if self._count in self.refused:
            raise Unavailable("no answer, nothing done")
        self._table.commit(*changes)
        self.commits.append(changes)
        if self._count in self.lost:
            raise Unavailable("no answer, but done")


class Rows:
    """What the table says of the run."""

    def __init__(self, store: RunStore) -> None:
        self._rows = store

    def run(self) -> RunRow:
        return from_item(self._rows.get(run_key(RUN)) or {}, RunRow)

    def head(self) -> int:
        return from_item(self._rows.get(head_key(RUN)) or {}, HeadRow).version

    def row(self, round_: int = 1, attempt: int = 1) -> RoundRow:
        return from_item(self._rows.get(round_key(RUN, round_, attempt)) or {}, RoundRow)

    def has_attempt(self, round_: int = 1, attempt: int = 1) -> bool:
        return self._rows.get(round_key(RUN, round_, attempt)) is not None

    def gates(self, round_: int = 1, attempt: int = 1) -> set[object]:
        rows = [self._rows.get(gate_key(RUN, round_, attempt, k)) for k in range(16)]
        return {None if row is None else row["state"] for row in rows}


class Others(Rows):
    """What clients, gateway and aggregator do, straight on the ports."""

    def __init__(self, store: RunStore, models: ModelStore, clock: Clock) -> None:
        super().__init__(store)
        self._models, self._clock = models, clock

    @property
    def now(self) -> datetime:
        return self._clock.now()

    def register(self) -> None:
        stand_ins.register(self._rows, self._models, now=self.now)

    def poll(self, *clients: str) -> None:
        stand_ins.poll(self._rows, clients, now=self.now)

    def accept(self, *clients: str, round_: int = 1, attempt: int = 1) -> Sequence[Event]:
        """Report and accept updates; return the hints, unpublished."""
        of = (RUN, round_, attempt)
        for client in clients:
            stand_ins.report(self._rows, of, client, now=self.now)
        return [stand_ins.accept(self._rows, of, client, now=self.now) for client in clients]

    def reject(self, *clients: str, round_: int = 1, attempt: int = 1) -> Sequence[Event]:
        of = (RUN, round_, attempt)
        for client in clients:
            stand_ins.report(self._rows, of, client, now=self.now)
        return [stand_ins.reject(self._rows, of, client, now=self.now) for client in clients]

    def commit(self, round_: int = 1, attempt: int = 1) -> Event:
        of = (RUN, round_, attempt)
        return stand_ins.commit_version(self._rows, self._models, of, now=self.now)


class World(Others):
    """The fakes, a dispatcher on them, and short words for what happens around it."""

    def __init__(self) -> None:
        self.clock = ManualClock(START)
        self.bus = MemoryBus(self.clock)
        self.store = MemoryRunStore()
        self.flaky = FlakyRunStore(self.store)
        self.models = MemoryModelStore()
        super().__init__(self.store, self.models, self.clock)
        self.workflow = MemoryWorkflow(self.bus, self.clock)
        self.topic = self.bus.publish
        self.broken_publishes = 0
        self.metrics = Metrics()
        self.ports = Ports(
            store=self.flaky,
            model_store=self.models,
            publish=self.publish,
            workflow=self.workflow,
            clock=self.clock,
            metrics=self.metrics,
        )
        self.sweep = Sweep(self.ports)
        self.handlers = handler_table(self.ports)

    def publish(self, *events: Event) -> None:
        """Publish for the dispatcher, or fail as often as ``broken_publishes`` says."""
        if self.broken_publishes > 0:
            self.broken_publishes -= 1
            raise Unavailable("the topic does not answer")
        self.topic(*events)

    def begin(self, *clients: str, **changes: Any) -> None:
        """Register, let clients poll, ask for a run and let everything happen."""
        self.register()
        self.poll(*clients)
        self.bus.publish(request(**changes))
        self.deliver()

    def deliver(self) -> None:
        """Let the dispatcher consume until nothing is visible in its queue."""
        source = self.bus.source("dispatcher")
        while consume_once(source, self.handlers, self.metrics, wait_seconds=0):
            pass

    def handle(self, *events: Event) -> None:
        """Call the handler directly, so that what it raises is seen."""
        self.handlers[type(events[0])](events)

    def hear(self, *events: Event) -> None:
        """Publish events and let the dispatcher handle them."""
        self.bus.publish(*events)
        self.deliver()

    def published(self, kind: type[Event]) -> list[Any]:
        return [event for event in self.bus.published if type(event) is kind]

    def asked(self, round_: int = 1, attempt: int = 1, token: str = "other") -> RoundRequested:
        """Return a request for an attempt, with a token that no execution waits for."""
        return RoundRequested(
            event_id="asked",
            run_id=RUN,
            occurred_at=START,
            state=RunProgress(run_id=RUN, rounds=self.run().rounds, round=round_, attempt=attempt),
            task_token=token,
        )


def request(**changes: Any) -> RunRequested:
    """Return a request for a run of one round with two clients."""
    fields: dict[str, Any] = {
        "event_id": "requested",
        "run_id": RUN,
        "occurred_at": START,
        "model": "digits",
        "rounds": 1,
        "target": 2,
        "quorum": 1,
        "deadline_seconds": 100.0,
        "start_deadline_seconds": 50.0,
    }
    return RunRequested(**(fields | changes))
