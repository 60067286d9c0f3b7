"""Time as an argument: the port, the real clock, and nothing else."""

import time
from datetime import UTC, datetime
from typing import Protocol

__all__ = ["Clock", "SystemClock"]


class Clock(Protocol):
    """Where a program gets the time from; domain code is given ``now`` instead."""

    def now(self) -> datetime:
        """Return the wall-clock time, timezone-aware, in UTC. Never blocks."""
        ...

    def monotonic(self) -> float:
        """Return seconds that never go back, from an unknown zero. Never blocks."""
        ...

    def sleep(self, seconds: float) -> None:
        """Block the calling thread for about ``seconds``."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """See ``Clock``."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """See ``Clock``."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """See ``Clock``."""
        time.sleep(seconds)
