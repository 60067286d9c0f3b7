"""Received messages stay hidden from other receivers while they are handled, however long it takes.

So the visibility timeout is short, and what a dead process held comes again soon.
"""

import logging
import threading
from collections.abc import Sequence
from typing import Protocol, Self

from rondo_core.bus import Delivery, EventSource
from rondo_core.telemetry import Metrics

__all__ = ["BEATS", "Hold", "Pause"]

log = logging.getLogger(__name__)

BEATS = 3
"""Beats in one visibility timeout: one that fails leaves another before any message is seen."""


class Pause(Protocol):
    """What the thread waits on between two beats: a ``threading.Event``, or a test's own."""

    def wait(self, timeout: float) -> bool:
        """Block for ``timeout`` seconds at most; return whether ``set`` was called."""
        ...

    def set(self) -> None:
        """End this wait and all that follow. Never blocks; safe to call twice."""
        ...


class Hold:
    """Keeps received messages hidden inside its ``with`` block, until each is let go.

    A thread extends them every third of the visibility timeout, so a batch that takes less costs
    the start of a thread (0.1 ms) and no call. A beat that fails is logged and counted, and the
    next one tries again: the worst that can happen is that a message is handled twice.

    Args:
        source: where the messages came from, just now.
        deliveries: what came.
        metrics: counts the beats that failed.
        pause: ends the thread when it is set; a ``threading.Event`` by default.
    """

    def __init__(
        self,
        source: EventSource,
        deliveries: Sequence[Delivery],
        metrics: Metrics,
        pause: Pause | None = None,
    ) -> None:
        self._source = source
        self._held = tuple(deliveries)
        self._metrics = metrics
        self._pause = pause or threading.Event()

    def __enter__(self) -> Self:
        threading.Thread(target=self._beat, name="heartbeat", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        # Not joined: a beat that hangs in the network may not hold up the next batch.
        self._pause.set()

    def release(self, deliveries: Sequence[Delivery]) -> None:
        """Hide these no longer than they are: they were handled, or are to come again."""
        # A new tuple in one assignment, which the thread sees or does not: no lock is needed.
        self._held = tuple(one for one in self._held if one not in deliveries)

    def _beat(self) -> None:
        while not self._pause.wait(self._source.visibility_seconds / BEATS):
            try:
                self._source.extend(self._held)
            except Exception:  # the outermost loop of the thread
                log.exception("extending failed")
                self._metrics.count("rondo_loop_failures_total", kind="heartbeat", outcome="error")
