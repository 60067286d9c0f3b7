"""What all connections of a server have in common."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from rondo_inference.contracts.messages import Answer
from rondo_inference.web.admission import Admission
from rondo_inference.web.budget import Budget

__all__ = [
    "CROWDED",
    "MOST_AT_ONCE",
    "MOST_WAITING",
    "App",
    "Closing",
    "ConnectionRules",
    "Shared",
]

CROWDED = "too many connections; try again"

MOST_WAITING = 8
"""Requests of one connection that were read and wait for their turn; then reading stops."""
MOST_AT_ONCE = 256
"""What was read at once may have many more, of which each takes 20 times its bytes."""


class Closing(Protocol):
    """A connection, as the server sees it."""

    @property
    def is_idle(self) -> bool:
        """Whether no request is being read or answered, or may be on its way."""
        ...

    @property
    def silent_until(self) -> float | None:
        """When it is closed if nothing comes; None: it is being answered, or meant to be silent."""
        ...

    def close(self) -> None:
        """Close it; what was written is still sent."""
        ...

    def check(self, now: float) -> None:
        """Close it if it took too long."""
        ...

    def cut(self, why: str) -> None:
        """Refuse a request of which only a part has come, and take no other."""
        ...

    def abort(self) -> None:
        """Close it; what was written and not taken is lost."""
        ...


class App(Protocol):
    """Answers requests; see ``HttpApp``."""

    @property
    def budget(self) -> Budget:
        """What the bodies of all requests may have together."""
        ...

    def admit(self, method: str, path: str, query: str, headers: Mapping[str, str]) -> Admission:
        """Decide what the head of a request decides."""
        ...

    def again(self, admission: Admission) -> Admission:
        """Decide anew about a head that came before, word for word."""
        ...

    def respond(self, admission: Admission, body: bytes) -> Awaitable[Answer]:
        """Return the answer."""
        ...

    def expect(self, count: int) -> None:
        """Be told of requests that were read, and again when they are done with."""
        ...


@dataclass(frozen=True, slots=True)
class ConnectionRules:
    """Bounds of a connection.

    Attributes:
        max_body_bytes: a longer body is refused with 413.
        max_header_bytes: of the request line and all headers, refused with 431.
        header_seconds: from a request's first byte to the end of its headers, then 408.
        body_seconds: from the headers to the end of the body, then 408.
        write_seconds: a caller that takes nothing of its answer for so long is cut off.
        idle_seconds: a connection without a request is closed after that; longer than a load
            balancer keeps one (60 s), so that the balancer closes it first.
        max_connections: for another one, the silent one that would be closed soonest gives way;
            where all are being answered it is refused with 503.
    """

    max_body_bytes: int = 25 * 1024 * 1024
    max_header_bytes: int = 64 * 1024
    header_seconds: float = 10.0
    body_seconds: float = 60.0
    write_seconds: float = 60.0
    idle_seconds: float = 75.0
    max_connections: int = 1024


@dataclass(slots=True)
class Shared:
    """What all connections of a server have in common.

    Attributes:
        app: answers.
        rules: bounds.
        draining: whether connections are closed after their answer.
        time: the event loop's clock.
        write_seconds: as in ``rules``; less when the server ends.
        connections: those that are open.
        date: the header, renewed every second.
        latest: the one that sent the last whole request.
    """

    app: App
    rules: ConnectionRules
    draining: Callable[[], bool]
    time: Callable[[], float]
    write_seconds: float = field(init=False)
    connections: set[Closing] = field(default_factory=set)
    date: bytes = b""
    latest: Closing | None = None

    def __post_init__(self) -> None:
        """Be as patient as the rules say."""
        self.write_seconds = self.rules.write_seconds

    def has_room(self) -> bool:
        """Return whether another connection may come; a silent one gives way to it if need be.

        Who only holds connections, or sends a byte now and then, so keeps nobody out: those who
        wait for a request go before those who have sent a part of one.
        """
        if len(self.connections) < self.rules.max_connections:
            return True
        silent = [
            (not one.is_idle, until, one)
            for one in self.connections
            if (until := one.silent_until) is not None
        ]
        if not silent:
            return False
        *_, victim = min(silent, key=lambda found: found[:2])
        self.connections.discard(victim)
        victim.cut(CROWDED)
        victim.close()
        return True

    @property
    def budget(self) -> Budget:
        """See `App`."""
        return self.app.budget
