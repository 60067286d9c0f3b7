"""Received messages stay hidden while they are handled, and no longer."""

import queue
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from rondo_core.bus import Delivery
from rondo_core.consumer import BatchHandler, consume_once
from rondo_core.errors import Unavailable
from rondo_core.events import Event, RoundSealed, UpdateSubmitted
from rondo_core.heartbeat import Hold
from rondo_core.telemetry import Metrics
from rondo_core.testing import ManualClock, MemoryBus, MemoryEventSource

AT = datetime(2026, 1, 1, tzinfo=UTC)
SHA256 = "0a" * 32
HEAD: dict[str, Any] = {"run_id": "r", "occurred_at": AT, "round": 1, "attempt": 1}
SUBMITTED = UpdateSubmitted(event_id="u", client_id="c", sha256=SHA256, **HEAD)
SEALED = RoundSealed(event_id="s", manifest=SHA256, updates=1, **HEAD)
PATIENCE_SECONDS = 5.0


class _Watched:
    """The aggregator's queue: tells a test of every beat, and fails the first ``failures``.

    It hides for 30 s of the clock that only the test moves, and beats every few real milliseconds.
    """

    def __init__(self, source: MemoryEventSource, failures: int = 0) -> None:
        self.visibility_seconds = 0.015
        self.extended: list[list[str]] = []
        self.failures = failures
        self._source = source
        self._beaten = threading.Condition()

    def receive(self, *, wait_seconds: float) -> Sequence[Delivery]:
        return self._source.receive(wait_seconds=wait_seconds)

    def acknowledge(self, deliveries: Sequence[Delivery]) -> None:
        self._source.acknowledge(deliveries)

    def dead_letter(self, delivery: Delivery, *, reason: str) -> None:
        self._source.dead_letter(delivery, reason=reason)

    def extend(self, deliveries: Sequence[Delivery]) -> None:
        self._source.extend(deliveries)
        with self._beaten:
            self.extended.append([delivery.body for delivery in deliveries])
            self._beaten.notify_all()
            if len(self.extended) <= self.failures:
                raise Unavailable("queue")

    def await_beat(self) -> list[str]:
        """Wait for the end of a beat that began after this call; return what it extended."""
        with self._beaten:
            beats = len(self.extended) + 2  # the next one may have begun before
            assert self._beaten.wait_for(lambda: len(self.extended) >= beats, PATIENCE_SECONDS)
            return self.extended[-1]


class _Ticks:
    """A pause that ends when the test lets the thread beat once."""

    def __init__(self) -> None:
        self.asked: list[float] = []
        self._waiting = threading.Semaphore(0)
        self._answers: queue.Queue[bool] = queue.Queue()

    def wait(self, timeout: float) -> bool:
        self.asked.append(timeout)
        self._waiting.release()
        return self._answers.get(timeout=PATIENCE_SECONDS)

    def set(self) -> None:
        self._answers.put(item=True)

    def beat(self) -> None:
        """Let the thread beat, and wait until it has."""
        assert self._waiting.acquire(timeout=PATIENCE_SECONDS)
        self._answers.put(item=False)
        assert self._waiting.acquire(timeout=PATIENCE_SECONDS)
        self._waiting.release()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def bus(clock: ManualClock) -> MemoryBus:
    return MemoryBus(clock)


@pytest.fixture
def replica(bus: MemoryBus) -> MemoryEventSource:
    """The same queue as another process sees it."""
    return bus.source("aggregator")


@pytest.fixture
def source(replica: MemoryEventSource) -> _Watched:
    return _Watched(replica)


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


def failures(metrics: Metrics) -> float | None:
    labels = {"kind": "heartbeat", "outcome": "error"}
    return metrics.registry.get_sample_value("rondo_loop_failures_total", labels)


def kinds(bodies: Sequence[str]) -> list[str]:
    return [kind for body in bodies for kind in ("UpdateSubmitted", "RoundSealed") if kind in body]


def consume(
    source: _Watched,
    metrics: Metrics,
    *,
    submitted: Callable[[], None] = lambda: None,
    sealed: Callable[[], None] = lambda: None,
) -> int:
    handlers: dict[type[Event], BatchHandler] = {
        UpdateSubmitted: lambda _: submitted(),
        RoundSealed: lambda _: sealed(),
    }
    return consume_once(source, handlers, metrics, wait_seconds=0)


@pytest.fixture(autouse=True)
def others() -> None:
    """Let heartbeats of other tests end, which may take a moment on a busy machine."""
    for thread in heartbeats():
        thread.join(PATIENCE_SECONDS)


def heartbeats() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "heartbeat"]


def test_whole_batch_stays_hidden_however_long_its_first_type_takes(
    bus: MemoryBus, clock: ManualClock, replica: MemoryEventSource, metrics: Metrics
) -> None:
    source, seen = _Watched(replica), list[Delivery]()
    bus.publish(SUBMITTED, SEALED)

    def slow() -> None:
        for _ in range(3):
            clock.advance(29)
            assert kinds(source.await_beat()) == ["UpdateSubmitted", "RoundSealed"]
            seen.extend(replica.receive(wait_seconds=0))

    assert consume(source, metrics, submitted=slow) == 2

    assert seen == []
    assert replica.depth() == 0
    assert failures(metrics) is None


def test_what_is_handled_is_extended_no_more(
    bus: MemoryBus, source: _Watched, metrics: Metrics
) -> None:
    bus.publish(SUBMITTED, SEALED)
    extended: list[str] = []

    consume(source, metrics, sealed=lambda: extended.extend(source.await_beat()))

    assert kinds(extended) == ["RoundSealed"]


def test_what_failed_comes_again_while_the_rest_is_still_handled(
    bus: MemoryBus,
    clock: ManualClock,
    replica: MemoryEventSource,
    source: _Watched,
    metrics: Metrics,
) -> None:
    bus.publish(SUBMITTED, SEALED)
    seen: list[str] = []

    def fail() -> None:
        raise Unavailable("store")

    def slow() -> None:
        for _ in range(2):
            clock.advance(20)
            source.await_beat()
        seen.extend(one.body for one in replica.receive(wait_seconds=0))

    consume(source, metrics, submitted=fail, sealed=slow)

    assert kinds(seen) == ["UpdateSubmitted"]


def test_poison_is_extended_no_more_once_it_is_a_dead_letter(
    bus: MemoryBus, source: _Watched, replica: MemoryEventSource, metrics: Metrics
) -> None:
    replica.send("{")
    bus.publish(SEALED)
    extended: list[str] = []

    consume(source, metrics, sealed=lambda: extended.extend(source.await_beat()))

    assert kinds(extended) == ["RoundSealed"]
    assert "{" not in extended


def test_beats_that_fail_are_counted_and_logged_and_the_handler_goes_on(
    bus: MemoryBus,
    replica: MemoryEventSource,
    metrics: Metrics,
    caplog: pytest.LogCaptureFixture,
) -> None:
    source, handled = _Watched(replica, failures=2), list[str]()
    bus.publish(SEALED)

    def slow() -> None:
        source.await_beat()
        source.await_beat()
        handled.append("all")

    consume(source, metrics, sealed=slow)

    assert handled == ["all"]
    assert replica.depth() == 0
    assert failures(metrics) == 2
    assert "Unavailable: queue" in caplog.text


def test_quick_batch_is_not_extended_and_its_thread_ends(
    bus: MemoryBus, source: _Watched, metrics: Metrics
) -> None:
    source.visibility_seconds = 30.0
    bus.publish(SEALED)
    threads: list[threading.Thread] = []

    consume(source, metrics, sealed=lambda: threads.extend(heartbeats()))

    (thread,) = threads
    thread.join(PATIENCE_SECONDS)
    assert not thread.is_alive()
    assert source.extended == []


def test_thread_ends_too_when_the_queue_takes_no_acknowledgement(
    bus: MemoryBus, replica: MemoryEventSource, metrics: Metrics
) -> None:
    class Deaf(_Watched):
        def acknowledge(self, deliveries: Sequence[Delivery]) -> None:
            raise Unavailable(f"queue, for {len(deliveries)}")

    bus.publish(SEALED)
    threads: list[threading.Thread] = []

    with pytest.raises(Unavailable, match="for 1"):
        consume(Deaf(replica), metrics, sealed=lambda: threads.extend(heartbeats()))

    (thread,) = threads
    thread.join(PATIENCE_SECONDS)
    assert not thread.is_alive()


def test_beat_that_hangs_holds_up_neither_the_next_batch_nor_the_end_of_the_process(
    bus: MemoryBus, replica: MemoryEventSource, metrics: Metrics
) -> None:
    hanging, answered = threading.Event(), threading.Event()

    class Hanging(_Watched):
        def extend(self, deliveries: Sequence[Delivery]) -> None:
            hanging.set()
            answered.wait(PATIENCE_SECONDS)
            super().extend(deliveries)

    bus.publish(SEALED)
    threads: list[threading.Thread] = []

    def slow() -> None:
        threads.extend(heartbeats())
        assert hanging.wait(PATIENCE_SECONDS)

    consume(Hanging(replica), metrics, sealed=slow)

    (thread,) = threads
    assert replica.depth() == 0
    assert thread.is_alive()
    assert thread.daemon
    answered.set()
    thread.join(PATIENCE_SECONDS)
    assert not thread.is_alive()


def test_beat_comes_every_third_of_the_visibility_timeout(
    bus: MemoryBus, clock: ManualClock, replica: MemoryEventSource, metrics: Metrics
) -> None:
    bus.publish(SUBMITTED, SEALED)
    deliveries, ticks = replica.receive(wait_seconds=0), _Ticks()

    with Hold(replica, deliveries, metrics, ticks) as hold:
        for _ in range(6):
            clock.advance(10)
            ticks.beat()
        assert replica.receive(wait_seconds=0) == []
        hold.release(deliveries[:1])
        for _ in range(3):
            clock.advance(10)
            ticks.beat()
        again = replica.receive(wait_seconds=0)

    assert [one.body for one in again] == [deliveries[0].body]
    assert set(ticks.asked) == {10.0}
