"""The message ports: publish events, receive messages."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from rondo_core.events import Event

__all__ = ["Delivery", "EventSource", "Publish"]


class Publish(Protocol):
    """Puts events on the topic; every queue whose filter knows the type gets a copy."""

    def __call__(self, *events: Event) -> None:
        """Publish events, in batches where the technology can.

        Blocks until all are accepted. Not atomic: some may be out when it raises. Safe to call
        twice: receivers compare the deterministic ``event_id`` or the row. Order is not kept.

        Raises:
            EventsRefused: the topic will never take those that the error names, whoever tries; it
                accepted all others.
            Unavailable: at least one event was not accepted, and may be later; publish them all
                again.
        """
        ...


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message as received.

    Attributes:
        body: the raw message body (raw delivery: no SNS wrapper).
        receipt: what acknowledges exactly this delivery.
        receives: how often the message was delivered so far, this time included.
    """

    body: str
    receipt: str
    receives: int


class EventSource(Protocol):
    """One service's queue.

    A message that is not acknowledged comes again after the visibility timeout.
    """

    @property
    def visibility_seconds(self) -> float:
        """The visibility timeout: for how long ``receive`` and ``extend`` hide a message."""
        ...

    def receive(self, *, wait_seconds: float) -> Sequence[Delivery]:
        """Return up to ten messages, or none after ``wait_seconds``.

        Blocks. The order is not promised.

        Raises:
            Unavailable: the queue did not answer.
        """
        ...

    def acknowledge(self, deliveries: Sequence[Delivery]) -> None:
        """Remove messages for good, in one call where possible.

        An old receipt is not an error. Safe to call twice.

        Raises:
            Unavailable: the queue did not answer; the messages may come again.
        """
        ...

    def extend(self, deliveries: Sequence[Delivery]) -> None:
        """Hide messages for ``visibility_seconds`` from now, in one call where possible.

        Blocks. Not atomic: when it raises, some may be extended. Safe to call twice. An old receipt
        is not an error; what it does to a message that came again meanwhile is not promised.

        Raises:
            Unavailable: the queue did not answer; the messages come again when they would have.
        """
        ...

    def dead_letter(self, delivery: Delivery, *, reason: str) -> None:
        """Move a message that can never be handled to the dead letters, with the reason.

        Not atomic: written there first, then removed here, so that a crash between leaves it in
        both.

        Raises:
            Unavailable: the queue did not answer; the message stays.
        """
        ...
