"""A clock that moves only when it is told to."""

import threading
from datetime import UTC, datetime, timedelta

__all__ = ["ManualClock"]


class ManualClock:
    """Time for tests: ``sleep`` and ``advance`` move it at once, nothing else does.

    Args:
        start: the first ``now``, timezone-aware.

    >>> clock = ManualClock()
    >>> clock.sleep(1.5)
    >>> clock.now().isoformat()
    '2026-01-01T00:00:01.500000+00:00'
    """

    def __init__(self, start: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self._start = start
        self._elapsed = 0.0
        self._lock = threading.Lock()

    def now(self) -> datetime:
        """Return the start plus all that was slept and advanced."""
        return self._start + timedelta(seconds=self._elapsed)

    def monotonic(self) -> float:
        """Return the seconds that were slept and advanced."""
        return self._elapsed

    def sleep(self, seconds: float) -> None:
        """Move the time; never blocks."""
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        """Move the time.

        Raises:
            ValueError: ``seconds`` is negative; time does not go back.
        """
        if seconds < 0:
            raise ValueError(f"cannot go back by {seconds} s")
        with self._lock:
            self._elapsed += seconds
