"""From messages to handlers: what is acknowledged, what comes again, what is dead-lettered."""

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from rondo_core.bus import Delivery, EventSource
from rondo_core.cloud_events import decode_event, traceparent_of
from rondo_core.errors import Conflict, EventInvalid, Invalid, NotFound, Unavailable
from rondo_core.events import Event
from rondo_core.heartbeat import Hold
from rondo_core.telemetry import Metrics
from rondo_core.tracing import span, tracing

__all__ = ["WAIT_SECONDS", "BatchHandler", "Consumer", "consume_once"]

log = logging.getLogger(__name__)

BatchHandler = Callable[[Sequence[Any]], None]
"""Handles all events of one type that were received together; may run twice for the same event."""

WAIT_SECONDS = 5.0
"""How long an empty receive waits, and so how long a worker may take to notice SIGTERM."""

SHORT_RECEIVES = 2
SHORT_PAUSE_SECONDS = 0.025
"""Events come in chains: what a handler published brings the next message within milliseconds.

A long poll that began just before may notice it late (one emulator looks every 100 ms). So a batch
is followed by short receives, which cost at most two empty requests a batch (an emulator may need
10 ms of its one processor for each).
"""

BACKOFF_SECONDS = 1.0
"""How long a consumer leaves a queue alone that failed."""


class Consumer:
    """Receives and handles one batch a call: by long polls, and by short receives after work.

    Args:
        source: the queue.
        handlers: event type -> what handles the events of a batch that are of it.
        metrics: counts what was handled, and what failed.
    """

    def __init__(
        self,
        source: EventSource,
        handlers: Mapping[type[Event], BatchHandler],
        metrics: Metrics,
    ) -> None:
        self._source = source
        self._handlers = handlers
        self._metrics = metrics
        self._short_receives = 0

    def __call__(self) -> float:
        """Receive once, handle what came, and return for how many seconds to pause after it.

        Blocks for as long as a long poll and the handlers take. A queue that fails is logged and
        counted, nothing is raised.
        """
        wait_seconds = 0.0 if self._short_receives else WAIT_SECONDS
        try:
            came = consume_once(
                self._source, self._handlers, self._metrics, wait_seconds=wait_seconds
            )
        except Exception:  # the outermost loop: the queue itself failed
            log.exception("receive failed")
            self._metrics.count("rondo_loop_failures_total", kind="consumer", outcome="error")
            self._short_receives = 0
            return BACKOFF_SECONDS
        self._short_receives = SHORT_RECEIVES if came else max(self._short_receives - 1, 0)
        return SHORT_PAUSE_SECONDS if self._short_receives and not came else 0.0


def consume_once(
    source: EventSource,
    handlers: Mapping[type[Event], BatchHandler],
    metrics: Metrics,
    *,
    wait_seconds: float = WAIT_SECONDS,
) -> int:
    """Receive one batch and handle it, type by type; return how many messages came.

    A message is acknowledged when its handler returned. ``Invalid`` moves it to the dead letters
    with the reason; any other error leaves it in the queue, to come again after the visibility
    timeout. Until then it is hidden, and so are those whose turn has not come, however long the
    handlers take.
    """
    deliveries = source.receive(wait_seconds=wait_seconds)
    if deliveries:
        with Hold(source, deliveries, metrics) as hold:
            _handle_all(source, handlers, deliveries, hold, metrics)
    return len(deliveries)


def _handle_all(
    source: EventSource,
    handlers: Mapping[type[Event], BatchHandler],
    deliveries: Sequence[Delivery],
    hold: Hold,
    metrics: Metrics,
) -> None:
    batches: dict[type[Event], list[tuple[Delivery, Event]]] = defaultdict(list)
    for delivery in deliveries:
        try:
            event = _event_for(delivery, handlers)
        except EventInvalid as exc:
            _dead_letter(source, delivery, exc, metrics)
            hold.release([delivery])
        else:
            batches[type(event)].append((delivery, event))
    for kind, batch in batches.items():
        _handle(source, handlers[kind], batch, metrics)
        hold.release([delivery for delivery, _ in batch])


def _traced(kind: str, batch: Sequence[tuple[Delivery, Event]]) -> AbstractContextManager[object]:
    """Record the handling of a batch as the child of what published its first message."""
    if not tracing():
        return nullcontext()
    parent, *links = (traceparent_of(delivery.body) for delivery, _ in batch)
    return span(f"process {kind}", kind="consumer", parent=parent, links=links)


def _event_for(delivery: Delivery, handlers: Mapping[type[Event], BatchHandler]) -> Event:
    event = decode_event(delivery.body)
    if type(event) not in handlers:
        raise EventInvalid(f"{type(event).__name__} is not for this queue")
    return event


def _handle(
    source: EventSource,
    handler: BatchHandler,
    batch: Sequence[tuple[Delivery, Event]],
    metrics: Metrics,
) -> None:
    kind, start = type(batch[0][1]).__name__, time.perf_counter()
    try:
        with _traced(kind, batch):
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
    except Exception as exc:  # the outermost loop: counted, and the message comes again
        log.exception("handler failed")
        _note(batch, metrics, start, outcome="error", error=repr(exc))
        return
    source.acknowledge([delivery for delivery, _ in batch])
    _note(batch, metrics, start, outcome="ok")
    metrics.observe("rondo_event_seconds", time.perf_counter() - start, kind=kind)


def _note(
    batch: Sequence[tuple[Delivery, Event]],
    metrics: Metrics,
    start: float,
    *,
    outcome: str,
    error: str | None = None,
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
        log.log(
            logging.INFO if error is None else logging.WARNING,
            "event handled",
            extra=fields | ({"error": error} if error else {}),
        )


def _dead_letter(source: EventSource, delivery: Delivery, exc: Exception, metrics: Metrics) -> None:
    source.dead_letter(delivery, reason=str(exc))
    metrics.count("rondo_events_dead_lettered_total")
    log.error(
        "event dead-lettered",
        extra={"outcome": "dead-letter", "error": str(exc), "receives": delivery.receives},
    )
