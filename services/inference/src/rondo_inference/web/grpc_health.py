"""Watch of the gRPC health service: who asks is told how a service stands, and of every change.

Source: the gRPC health checking protocol (grpc.health.v1, health.proto).
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from grpc_health.v1.health_pb2 import HealthCheckResponse

from rondo_core.errors import Unavailable

__all__ = [
    "HEALTH",
    "INFERENCE",
    "LONGEST_REQUEST",
    "MOST_WATCHERS",
    "Watchers",
    "status_of_service",
]

HEALTH = "grpc.health.v1.Health"
INFERENCE = "inference.GRPCInferenceService"
"""What the Open Inference Protocol calls its service."""

MOST_WATCHERS = 1000
LONGEST_REQUEST = 1000
"""Bytes; a stream has its request in memory as long as it lasts."""

LOOK_SECONDS = 0.25
"""How often somebody looks, for all watchers together, whether anything has changed."""


def status_of_service(service: str, *, ready: bool) -> int:
    """Return how a service stands, a `ServingStatus`: those that there are, as the process does.

    Args:
        service: its name; "" means the process.
        ready: whether the process takes requests.
    """
    if service not in {"", INFERENCE}:
        return HealthCheckResponse.SERVICE_UNKNOWN
    return HealthCheckResponse.SERVING if ready else HealthCheckResponse.NOT_SERVING


@dataclass
class Watchers:
    """Who watches. All of it belongs to one event loop; other threads decide what is ready.

    Attributes:
        ready: whether the process takes requests.
        most: so many may watch at a time; more are refused.
        count: so many watch now.
    """

    ready: Callable[[], bool]
    most: int
    count: int = field(default=0, init=False)
    _serving: bool = field(default=False, init=False)
    _ended: bool = field(default=False, init=False)
    _changed: asyncio.Event = field(default_factory=asyncio.Event, init=False)

    async def follow(self) -> None:
        """Look for changes until it is cancelled."""
        while True:
            self._look()
            await asyncio.sleep(LOOK_SECONDS)

    def end(self) -> None:
        """Tell everybody how it stands last, and end all streams, those too that come later."""
        self._look()
        self._ended = True
        self._wake()

    async def watch(self, service: str, tell: Callable[[bytes], Awaitable[None]]) -> None:
        """Tell how a service stands, now and after each change, until the caller goes away.

        A service that is unknown stays so, and its watcher waits like any other.

        Args:
            service: its name; "" means the process.
            tell: sends a `HealthCheckResponse`.

        Raises:
            Unavailable: too many watch, or the server ends.
        """
        if self.count >= self.most:
            raise Unavailable(f"{self.most} callers watch; try again")
        self.count += 1
        try:
            await self._tell_changes(service, tell)
        finally:
            self.count -= 1
        raise Unavailable("the server ends; try again")

    async def _tell_changes(self, service: str, tell: Callable[[bytes], Awaitable[None]]) -> None:
        self._look()
        told: int | None = None
        while True:
            changed, ended = self._changed, self._ended  # before the rest: no change is missed
            status = status_of_service(service, ready=self._serving)
            if status != told:
                await tell(HealthCheckResponse(status=status).SerializeToString())
                told = status
            if ended:
                return
            await changed.wait()

    def _look(self) -> None:
        serving = self.ready()
        if serving != self._serving:
            self._serving = serving
            self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
