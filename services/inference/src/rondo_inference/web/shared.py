"""What all connections of a server have in common."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from rondo_inference.contracts.messages import Answer

__all__ = ["Closing", "ConnectionRules", "Respond", "Shared"]


class Closing(Protocol):
    """A connection, as the server sees it."""

    @property
    def is_idle(self) -> bool:
        """Whether no request is being read or answered."""
        ...

    def close(self) -> None:
        """Close it; what was written is still sent."""
        ...

    def check(self, now: float) -> None:
        """Close it if it took too long."""
        ...


class Respond(Protocol):
    """Makes the answer to a request; see ``HttpApp.respond``."""

    def __call__(
        self, method: str, path: str, query: str, headers: Mapping[str, str], body: bytes
    ) -> Awaitable[Answer]:
        """Return it."""
        ...


@dataclass(frozen=True, slots=True)
class ConnectionRules:
    """Bounds of a connection.

    Attributes:
        max_body_bytes: a longer body is refused with 413.
        max_header_bytes: of the request line and all headers, refused with 431.
        header_seconds: from a request's first byte to the end of its headers, then 408.
        body_seconds: from the headers to the end of the body, then 408.
        idle_seconds: a connection without a request is closed after that; longer than a load
            balancer keeps one (60 s), so that the balancer closes it first.
        max_connections: more are refused with 503.
    """

    max_body_bytes: int = 25 * 1024 * 1024
    max_header_bytes: int = 64 * 1024
    header_seconds: float = 10.0
    body_seconds: float = 60.0
    idle_seconds: float = 75.0
    max_connections: int = 1024


@dataclass(slots=True)
class Shared:
    """What all connections of a server have in common.

    Attributes:
        respond: answers.
        rules: bounds.
        draining: whether connections are closed after their answer.
        time: the event loop's clock.
        expect: told of every request that was read, and again when it is done with.
        connections: those that are open.
        date: the header, renewed every second.
    """

    respond: Respond
    rules: ConnectionRules
    draining: Callable[[], bool]
    time: Callable[[], float]
    expect: Callable[[int], None]
    connections: set[Closing] = field(default_factory=set)
    date: bytes = b""
