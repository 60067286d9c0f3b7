"""The frame of a worker process with its real clock, signals and HTTP pages, over a fake queue."""

import os
import signal
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from datetime import UTC, datetime

import pytest

from rondo_core.bus import Delivery, EventSource
from rondo_core.cloud_events import encode_event
from rondo_core.consumer import WAIT_SECONDS
from rondo_core.errors import Unavailable
from rondo_core.events import RoundSealed
from rondo_core.health import Health, serve_health
from rondo_core.service import run_worker
from rondo_core.settings import ServiceSettings
from rondo_core.telemetry import Metrics
from rondo_core.testing import MemoryBus
from rondo_local.readiness import free_port
from tests.contract.harness import settle

SEALED = RoundSealed(
    event_id="RoundSealed/r",
    run_id="r",
    occurred_at=datetime(2026, 1, 1, tzinfo=UTC),
    round=1,
    attempt=1,
    manifest="0a" * 32,
    updates=1,
)


@pytest.fixture(autouse=True)
def _signals_put_back() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def settings() -> ServiceSettings:
    return ServiceSettings(health_port=free_port())


def page(settings: ServiceSettings, path: str) -> tuple[int, str]:
    url = f"http://127.0.0.1:{settings.health_port}{path}"
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as exc:
        with exc:
            return exc.code, exc.read().decode()
    except OSError:
        return 0, ""


class _Visitor:
    """Does what the test says while ``run_worker`` blocks the main thread, then sends SIGTERM."""

    def __init__(self) -> None:
        self.seen: Future[list[object]] = Future()

    def visit(self, steps: "list[object]") -> None:
        def go() -> None:
            try:
                self.seen.set_result([step() for step in steps if callable(step)])
            except BaseException as exc:  # noqa: BLE001 - handed to the test
                self.seen.set_exception(exc)
            finally:
                os.kill(os.getpid(), signal.SIGTERM)

        threading.Thread(target=go).start()


def work(
    settings: ServiceSettings,
    steps: list[object],
    *,
    source: EventSource,
    handled: list[RoundSealed],
    sweeps: list[float] | None = None,
) -> list[object]:
    def handle(events: Sequence[RoundSealed]) -> None:
        handled.extend(events)

    visitor = _Visitor()
    visitor.visit(steps)
    run_worker(
        source=source,
        handlers={RoundSealed: handle},
        sweep=None if sweeps is None else lambda: sweeps.append(time.monotonic()),
        sweep_seconds=0.01,
        settings=settings,
        metrics=Metrics(),
    )
    return visitor.seen.result()


def test_worker_handles_events_and_sweeps_until_sigterm(settings: ServiceSettings) -> None:
    bus, handled, sweeps = MemoryBus(), list[RoundSealed](), list[float]()
    bus.publish(SEALED)

    work(
        settings,
        [lambda: settle(lambda: (handled, len(sweeps) > 2), ([SEALED], True))],
        source=bus.source("aggregator"),
        handled=handled,
        sweeps=sweeps,
    )

    assert handled == [SEALED]
    assert bus.source("aggregator").depth() == 0
    assert page(settings, "/healthz") == (0, "")
    swept = len(sweeps)
    time.sleep(0.05)
    assert len(sweeps) == swept


def test_worker_without_a_sweep_only_consumes(settings: ServiceSettings) -> None:
    bus, handled = MemoryBus(), list[RoundSealed]()
    bus.publish(SEALED)

    work(
        settings,
        [lambda: settle(lambda: handled, [SEALED])],
        source=bus.source("aggregator"),
        handled=handled,
    )

    assert handled == [SEALED]


def test_pages_tell_health_readiness_and_metrics(settings: ServiceSettings) -> None:
    bus, handled = MemoryBus(), list[RoundSealed]()
    bus.publish(SEALED)
    paths = ("/healthz", "/readyz", "/metrics", "/secrets")

    _, healthy, ready, metrics, other = work(
        settings,
        [
            lambda: settle(lambda: (page(settings, "/readyz")[0], handled), (200, [SEALED])),
            *[(lambda path=path: page(settings, path)) for path in paths],
        ],
        source=bus.source("aggregator"),
        handled=handled,
    )

    assert (healthy, ready, other) == ((200, "ok\n"), (200, "ready\n"), (404, "not found\n"))
    line = 'rondo_events_handled_total{kind="RoundSealed",outcome="ok"} 1.0'
    assert line in str(metrics)


class _BrokenSource:
    """A queue that answers only the second time."""

    def __init__(self, source: EventSource) -> None:
        self.source = source
        self.calls = 0

    def receive(self, *, wait_seconds: float) -> Sequence[Delivery]:
        self.calls += 1
        if self.calls == 1:
            raise Unavailable("queue")
        return self.source.receive(wait_seconds=wait_seconds)

    @property
    def visibility_seconds(self) -> float:
        return self.source.visibility_seconds

    def acknowledge(self, deliveries: Sequence[Delivery]) -> None:
        self.source.acknowledge(deliveries)

    def extend(self, deliveries: Sequence[Delivery]) -> None:
        self.source.extend(deliveries)

    def dead_letter(self, delivery: Delivery, *, reason: str) -> None:
        self.source.dead_letter(delivery, reason=reason)


def test_worker_whose_queue_fails_tries_again(settings: ServiceSettings) -> None:
    bus, handled = MemoryBus(), list[RoundSealed]()
    bus.publish(SEALED)

    work(
        settings,
        [lambda: settle(lambda: handled, [SEALED])],
        source=_BrokenSource(bus.source("aggregator")),
        handled=handled,
    )

    assert handled == [SEALED]


class _Endless:
    """A queue that always has one more message, and counts the receives."""

    visibility_seconds = 30.0

    def __init__(self) -> None:
        self.waits: list[float] = []

    def receive(self, *, wait_seconds: float) -> Sequence[Delivery]:
        self.waits.append(wait_seconds)
        return [Delivery(encode_event(SEALED, source="rondo/test"), "receipt", 1)]

    def acknowledge(self, deliveries: Sequence[Delivery]) -> None:
        """Forget them."""

    def extend(self, deliveries: Sequence[Delivery]) -> None:
        """Do nothing."""

    def dead_letter(self, delivery: Delivery, *, reason: str) -> None:
        """Forget it."""


def test_worker_receives_again_and_again_until_sigterm_and_not_once_more(
    settings: ServiceSettings,
) -> None:
    source, handled = _Endless(), list[RoundSealed]()

    work(
        settings,
        [lambda: settle(lambda: len(handled) > 20, wanted=True)],
        source=source,
        handled=handled,
    )

    assert len(source.waits) == len(handled)
    assert (source.waits[0], set(source.waits[1:])) == (WAIT_SECONDS, {0.0})
    received = len(source.waits)
    time.sleep(0.05)
    assert len(source.waits) == received


def test_message_is_the_last_when_sigterm_comes_while_it_is_handled(
    settings: ServiceSettings,
) -> None:
    source = _Endless()

    def handle(_events: Sequence[RoundSealed]) -> None:
        settle(lambda: page(settings, "/readyz")[0], 200)
        os.kill(os.getpid(), signal.SIGTERM)
        settle(lambda: page(settings, "/readyz")[0], 503)

    run_worker(
        source=source,
        handlers={RoundSealed: handle},
        sweep=None,
        sweep_seconds=0.01,
        settings=settings,
        metrics=Metrics(),
    )

    assert len(source.waits) == 1


def test_stuck_loop_fails_the_liveness_page_by_name(settings: ServiceSettings) -> None:
    health = Health(limit_seconds=10.0)
    health.beat("sweeper")
    health.beats["consumer"] = time.monotonic() - 11
    server = serve_health(settings, health, Metrics())

    try:
        assert page(settings, "/healthz") == (503, "stuck: consumer\n")
        assert page(settings, "/readyz") == (503, "not ready\n")
    finally:
        server.shutdown()
        server.server_close()
