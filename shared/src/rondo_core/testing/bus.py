"""The topic and all queues in memory."""

import json
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from rondo_core.bus import Delivery
from rondo_core.clock import Clock
from rondo_core.cloud_events import decode_event, encode_event
from rondo_core.errors import EventInvalid, EventsRefused
from rondo_core.events import EVENT_TYPES, Event
from rondo_core.testing.clock import ManualClock
from rondo_core.topology import MAX_RECEIVES, QUEUES, QueueSpec
from rondo_core.tracing import span, traceparent

__all__ = ["MemoryBus", "MemoryEventSource"]

BATCH = 10
LARGEST_MESSAGE_BYTES = 256 * 1024
"""As SNS's."""
IDLE_SECONDS = 0.005
"""How long an empty ``receive`` really waits, so that a loop in a thread does not spin."""


@dataclass(slots=True)
class _Message:
    body: str
    receives: int = 0
    receipt: str = ""
    hidden_until: float = 0.0


class MemoryEventSource:
    """One service's queue, as ``MemoryBus.source`` gives it. Thread-safe."""

    def __init__(self, spec: QueueSpec, clock: Clock, rng: np.random.Generator | None) -> None:
        self._spec = spec
        self._clock = clock
        self._rng = rng
        self._messages: list[_Message] = []
        self._deliveries = 0
        self._changed = threading.Condition()
        self.dead: list[tuple[str, str]] = []

    @property
    def visibility_seconds(self) -> int:
        """See ``EventSource``."""
        return self._spec.visibility_seconds

    def send(self, body: str) -> None:
        """Put a raw body into the queue, past the topic and its filter."""
        with self._changed:
            self._messages.append(_Message(body))
            self._changed.notify_all()

    def receive(self, *, wait_seconds: float) -> Sequence[Delivery]:
        """Return up to ten visible messages and hide them; waits a moment at most."""
        with self._changed:
            if not self._visible() and wait_seconds > 0:
                self._changed.wait(IDLE_SECONDS)
            return [self._deliver(message) for message in self._visible()[:BATCH]]

    def acknowledge(self, deliveries: Sequence[Delivery]) -> None:
        """Remove messages; an old receipt changes nothing."""
        receipts = {delivery.receipt for delivery in deliveries}
        with self._changed:
            self._messages = [one for one in self._messages if one.receipt not in receipts]

    def extend(self, deliveries: Sequence[Delivery]) -> None:
        """Hide messages for the visibility timeout again; an old receipt changes nothing."""
        with self._changed:
            now = self._clock.monotonic()
            hidden = [one for one in self._sent(deliveries) if one.hidden_until > now]
            self._hide(hidden, self._spec.visibility_seconds)

    def dead_letter(self, delivery: Delivery, *, reason: str) -> None:
        """Move a message to the dead letters."""
        with self._changed:
            self.dead.append((delivery.body, reason))
            self.acknowledge([delivery])

    def redeliver(
        self, deliveries: Sequence[Delivery] | None = None, *, after_seconds: float = 0.0
    ) -> None:
        """Let these deliveries, or all that are not acknowledged, come again that soon."""
        with self._changed:
            messages = self._messages if deliveries is None else self._sent(deliveries)
            self._hide(messages, after_seconds)

    def depth(self) -> int:
        """Return how many messages are not acknowledged yet, hidden ones included."""
        with self._changed:
            return len(self._messages)

    def _sent(self, deliveries: Sequence[Delivery]) -> list[_Message]:
        receipts = {delivery.receipt for delivery in deliveries}
        return [one for one in self._messages if one.receipt in receipts]

    def _hide(self, messages: Sequence[_Message], seconds: float) -> None:
        for message in messages:
            message.hidden_until = self._clock.monotonic() + seconds

    def _visible(self) -> list[_Message]:
        now = self._clock.monotonic()
        visible = [one for one in self._messages if one.hidden_until <= now]
        for message in [one for one in visible if one.receives >= MAX_RECEIVES]:
            self._messages.remove(message)
            visible.remove(message)
            self.dead.append((message.body, ""))
        if self._rng is not None:
            self._rng.shuffle(visible)
        return visible

    def _deliver(self, message: _Message) -> Delivery:
        self._deliveries += 1
        message.receives += 1
        message.receipt = f"{self._spec.service}-{self._deliveries}"
        self._hide([message], self._spec.visibility_seconds)
        return Delivery(message.body, message.receipt, message.receives)


def _passes(kind: object, spec: QueueSpec) -> bool:
    stray = kind not in EVENT_TYPES
    return kind in {event.__name__ for event in spec.receives} or (spec.takes_strays and stray)


class MemoryBus:
    """``Publish`` and, by ``source``, every service's ``EventSource``, filtered by ``QUEUES``.

    Attributes:
        published: every event that was published, in order, decoded from its JSON.

    Args:
        clock: moves the visibility timeouts; without one nothing comes again but by ``redeliver``.
        rng: if given, each ``receive`` takes messages in random order.
    """

    def __init__(self, clock: Clock | None = None, rng: np.random.Generator | None = None) -> None:
        clock = clock or ManualClock()
        self.published: list[Event] = []
        self._sources = {spec.service: MemoryEventSource(spec, clock, rng) for spec in QUEUES}

    def publish(self, *events: Event) -> None:
        """Put events on the topic; each goes through its JSON form, and none may be too long."""
        refused: dict[str, str] = {}
        with span("publish", kind="producer"):
            trace = traceparent()
            for event in events:
                body = encode_event(event, source="rondo/memory", traceparent=trace)
                if (size := len(body.encode())) > LARGEST_MESSAGE_BYTES:
                    refused[event.event_id] = f"{size} bytes are over {LARGEST_MESSAGE_BYTES}"
                else:
                    self.publish_body(body)
            if refused:
                raise EventsRefused(refused)

    def publish_body(self, body: str) -> None:
        """Put a raw body on the topic, as the state machine does; the filters look at its ``type``.

        As with SNS, a body that is not a JSON object passes no filter.
        """
        with suppress(EventInvalid):
            self.published.append(decode_event(body))
        try:
            message = json.loads(body)
        except ValueError:
            return
        for spec in QUEUES:
            if isinstance(message, dict) and _passes(message.get("type"), spec):
                self._sources[spec.service].send(body)

    def source(self, service: str) -> MemoryEventSource:
        """Return a service's queue.

        Raises:
            KeyError: ``topology.QUEUES`` has no such service.
        """
        return self._sources[service]

    def dead_letters(self, service: str) -> list[tuple[str, str]]:
        """Return body and reason of every dead letter; no reason means received too often."""
        return list(self._sources[service].dead)
