"""The frame of a worker process: consume events, sweep, answer health checks, stop on SIGTERM (extra ``service``)."""

import logging
import signal
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from prometheus_client import generate_latest

from rondo_core.bus import Delivery, EventSource
from rondo_core.errors import Conflict, EventInvalid, Invalid, NotFound, Unavailable
from rondo_core.events import Event, decode_event
from rondo_core.settings import ServiceSettings
from rondo_core.telemetry import Metrics

__all__ = ["BatchHandler", "Health", "consume_once", "run_worker", "serve_health", "sweep_once"]

log = logging.getLogger(__name__)

BatchHandler = Callable[[Sequence[Any]], None]
"""Handles all events of one type that were received together. It may run twice for the same event."""

WAIT_SECONDS = 5.0
BACKOFF_SECONDS = 1.0


@dataclass(slots=True)
class Health:
    """What the health endpoint tells: alive while every loop beat within ``limit_seconds``; ready once ``ready`` is set."""

    limit_seconds: float = 120.0
    ready: threading.Event = field(default_factory=threading.Event)
    beats: dict[str, float] = field(default_factory=dict)

    def beat(self, loop: str) -> None:
        """Note that a loop is alive."""
        self.beats[loop] = time.monotonic()

    def stuck(self) -> list[str]:
        """Return the loops that have not beaten for too long."""
        now = time.monotonic()
        return [loop for loop, at in self.beats.items() if now - at > self.limit_seconds]


def consume_once(
    source: EventSource, handlers: Mapping[type[Event], BatchHandler], metrics: Metrics, *, wait_seconds: float = WAIT_SECONDS
) -> int:
    """Receive one batch and handle it, type by type; return how many messages came.

    A message is acknowledged when its handler returned. ``Invalid`` moves it to the dead letters with the reason; any
    other error leaves it in the queue, to come again after the visibility timeout.
    """
    deliveries = source.receive(wait_seconds=wait_seconds)
    batches: dict[type[Event], list[tuple[Delivery, Event]]] = defaultdict(list)
    for delivery in deliveries:
        try:
            event = decode_event(delivery.body)
            if type(event) not in handlers:
                raise EventInvalid(f"{type(event).__name__} is not for this queue")
        except EventInvalid as exc:
            _dead_letter(source, delivery, exc, metrics)
        else:
            batches[type(event)].append((delivery, event))
    for kind, batch in batches.items():
        _handle(source, handlers[kind], batch, metrics)
    return len(deliveries)


def _handle(
    source: EventSource, handler: BatchHandler, batch: Sequence[tuple[Delivery, Event]], metrics: Metrics
) -> None:
    kind, start = type(batch[0][1]).__name__, time.perf_counter()
    try:
        handler([event for _, event in batch])
    except (Invalid, NotFound) as exc:
        if len(batch) == 1:
            _dead_letter(source, batch[0][0], exc, metrics)
        else:  # one of them is bad: find out which
            for one in batch:
                _handle(source, handler, [one], metrics)
        return
    except (Unavailable, Conflict) as exc:
        _note(batch, metrics, start, outcome="retry", error=str(exc))
        return
    except Exception as exc:  # the outermost loop: unknown errors are counted, and the message comes again
        log.exception("handler failed")
        _note(batch, metrics, start, outcome="error", error=repr(exc))
        return
    source.acknowledge([delivery for delivery, _ in batch])
    _note(batch, metrics, start, outcome="ok")
    metrics.observe("rondo_event_seconds", time.perf_counter() - start, kind=kind)


def _note(
    batch: Sequence[tuple[Delivery, Event]], metrics: Metrics, start: float, *, outcome: str, error: str | None = None
) -> None:
    seconds = round(time.perf_counter() - start, 6)
    for delivery, event in batch:
        metrics.count("rondo_events_handled_total", kind=type(event).__name__, outcome=outcome)
        fields: dict[str, object] = {
            "event": type(event).__name__,
            "event_id": event.event_id,
            "run_id": event.run_id,
            "round": getattr(event, "round", None),
            "outcome": outcome,
            "seconds": seconds,
            "receives": delivery.receives,
        }
        log.log(logging.INFO if error is None else logging.WARNING, "event handled", extra=fields | ({"error": error} if error else {}))


def _dead_letter(source: EventSource, delivery: Delivery, exc: Exception, metrics: Metrics) -> None:
    source.dead_letter(delivery, reason=str(exc))
    metrics.count("rondo_events_dead_lettered_total")
    log.error("event dead-lettered", extra={"outcome": "dead-letter", "error": str(exc), "receives": delivery.receives})


def sweep_once(sweep: Callable[[], None], metrics: Metrics) -> None:
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
    sweep: Callable[[], None] | None,
    sweep_seconds: float,
    settings: ServiceSettings,
    metrics: Metrics,
) -> None:
    """Consume and sweep until SIGTERM or SIGINT; then finish what was received and return.

    Blocks; to be called from the main thread. Serves ``/healthz``, ``/readyz`` and ``/metrics`` on the health address of ``settings``.
    """
    stop, health = threading.Event(), Health()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    server = serve_health(settings, health, metrics)

    def consumer() -> None:
        while not stop.is_set():
            health.beat("consumer")
            try:
                consume_once(source, handlers, metrics)
            except Exception:  # the outermost loop: the queue itself failed
                log.exception("receive failed")
                metrics.count("rondo_loop_failures_total", kind="consumer", outcome="error")
                stop.wait(BACKOFF_SECONDS)

    def sweeper(task: Callable[[], None]) -> None:
        while not stop.is_set():
            health.beat("sweeper")
            sweep_once(task, metrics)
            stop.wait(sweep_seconds)

    threads = [threading.Thread(target=consumer, name="consumer")]
    if sweep is not None:
        threads.append(threading.Thread(target=sweeper, args=(sweep,), name="sweeper"))
    for thread in threads:
        thread.start()
    health.ready.set()
    log.info("started")
    stop.wait()
    health.ready.clear()
    for thread in threads:
        thread.join()
    server.shutdown()
    log.info("stopped")


def serve_health(settings: ServiceSettings, health: Health, metrics: Metrics) -> ThreadingHTTPServer:
    """Answer ``/healthz``, ``/readyz`` and ``/metrics`` in a thread of its own until ``shutdown`` is called."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # noqa: N802  (the name that the library calls)
            if self.path == "/metrics":
                self._send(200, generate_latest(metrics.registry))
            elif self.path == "/healthz":
                stuck = health.stuck()
                self._send(503 if stuck else 200, f"stuck: {stuck}\n".encode() if stuck else b"ok\n")
            elif self.path == "/readyz":
                ready = health.ready.is_set()
                self._send(200 if ready else 503, b"ready\n" if ready else b"not ready\n")
            else:
                self._send(404, b"not found\n")

        def _send(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "text/plain; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Health checks are not logged."""

    server = ThreadingHTTPServer((settings.health_host, settings.health_port), Handler)
    threading.Thread(target=server.serve_forever, name="health", daemon=True).start()
    return server
