"""The frame of a worker process: consume, sweep, answer health checks, stop on SIGTERM."""

import logging
import signal
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue

from rondo_core.bus import EventSource
from rondo_core.consumer import BatchHandler, Consumer
from rondo_core.events import Event
from rondo_core.health import Health, serve_health
from rondo_core.settings import ServiceSettings
from rondo_core.telemetry import Metrics

__all__ = ["run_worker", "sweep_once"]

log = logging.getLogger(__name__)

_LOOK_SECONDS = 0.5
"""A signal that comes just before the main thread goes to sleep does not wake it."""


def sweep_once(sweep: Callable[[], object], metrics: Metrics) -> None:
    """Run a sweep; what fails is logged and counted, and the next sweep tries again."""
    try:
        with metrics.timed("rondo_sweep_seconds"):
            sweep()
    except Exception:  # the outermost loop of the sweeper
        log.exception("sweep failed")
        metrics.count("rondo_loop_failures_total", kind="sweep", outcome="error")


def run_worker(
    *,
    source: EventSource,
    handlers: Mapping[type[Event], BatchHandler],
    sweep: Callable[[], object] | None,
    sweep_seconds: float,
    settings: ServiceSettings,
    metrics: Metrics,
) -> None:
    """Consume and sweep until SIGTERM or SIGINT; then finish what was received and return.

    Blocks; to be called from the main thread. Serves ``/healthz``, ``/readyz`` and ``/metrics`` on
    the health address of ``settings``.
    """
    stop, health, asked = threading.Event(), Health(), _asked_to_stop()
    server = serve_health(settings, health, metrics)
    loops: dict[str, Callable[[], float]] = {"consumer": Consumer(source, handlers, metrics)}
    if sweep is not None:
        loops["sweeper"] = partial(_sweep, sweep, sweep_seconds, metrics)
    threads = [
        threading.Thread(target=_loop, args=(name, body, stop, health), name=name)
        for name, body in loops.items()
    ]
    for thread in threads:
        thread.start()
    health.ready.set()
    log.info("started")
    _await(asked)
    stop.set()
    health.ready.clear()
    for thread in threads:
        thread.join()
    server.shutdown()
    server.server_close()
    log.info("stopped")


def _asked_to_stop() -> "SimpleQueue[int]":
    """Return what SIGTERM and SIGINT are put into.

    Their handler interrupts the main thread anywhere, also while it holds an event's lock; this
    queue may be put into even then.
    """
    asked: SimpleQueue[int] = SimpleQueue()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: asked.put(number))
    return asked


def _await(asked: "SimpleQueue[int]") -> None:
    while True:
        with suppress(Empty):
            asked.get(timeout=_LOOK_SECONDS)
            return


def _loop(name: str, body: Callable[[], float], stop: threading.Event, health: Health) -> None:
    while not stop.is_set():
        health.beat(name)
        stop.wait(body())


def _sweep(sweep: Callable[[], object], sweep_seconds: float, metrics: Metrics) -> float:
    sweep_once(sweep, metrics)
    return sweep_seconds
