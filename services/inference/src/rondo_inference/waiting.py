"""The requests of one version that wait for an engine.

The event loop adds them, and every engine takes its next batch itself when it is done with the one
before, without waiting for the loop: so this, and this alone, is locked.
"""

import threading
import time
from collections import deque
from collections.abc import Sequence

from rondo_inference.domain.batching import BatchLimits, QueueFull
from rondo_inference.merging import Job

__all__ = ["HOP_SECONDS", "Waiting"]

HOP_SECONDS = 0.0001
"""What it costs to have something computed in another thread, there and back, under load."""

_FEW_ROWS = 4
"""A batch of fewer rows costs the usual model more for each; smaller ones are not cut off."""

_CHEAP_ROWS = 8
"""Where so many take no longer than a small request may, the loop has as much to do as an engine:
then it has a CPU for itself, and works on one half of the requests while the other is computed.
Rows that cost next to nothing are not worth it."""


class Waiting:
    """Keeps the order, and counts the engines that are at work.

    Args:
        limits: see there.
        merges: whether rows of several requests may share a run.
    """

    def __init__(self, limits: BatchLimits, *, merges: bool) -> None:
        self._limits = limits
        self._merges = merges
        self._lock = threading.Lock()
        self._jobs: deque[Job] = deque()
        self._rows = 0
        self._running = 0

    @property
    def lone(self) -> bool:
        """Whether one batch was taken, is not done, and nothing else is there."""
        return self._running == 1 and not self._jobs

    @property
    def idle(self) -> bool:
        """Whether nothing waits and nothing is computed."""
        return not self._jobs and not self._running

    def put(self, job: Job) -> None:
        """Let a job wait.

        Raises:
            QueueFull: too many rows wait already.
        """
        with self._lock:
            if self._jobs and self._rows + job.rows > self._limits.queue_rows:
                raise QueueFull(f"{self._rows} rows wait already; try again")
            self._jobs.append(job)
            self._rows += job.rows

    def wants_engine(self, row_seconds: float) -> bool:
        """Return whether another engine is to begin, at what a row is expected to cost."""
        with self._lock:
            return self._wants_engine(row_seconds)

    def _wants_engine(self, row_seconds: float) -> bool:
        if not self._jobs:
            return False
        small = self._jobs[0].rows * row_seconds <= self._limits.inline_seconds
        spared = 1 if small and self._is_cheap(row_seconds) else 0
        return self._running < max(1, self._limits.engines - spared)

    def take(self, row_seconds: float) -> tuple[list[Job], list[Job]]:
        """Take what an engine is to compute next, and the jobs that waited too long.

        Args:
            row_seconds: what a row is expected to cost.

        Returns:
            The jobs of one batch, none if no engine is to begin; else they are `done` some time.
            Jobs that nobody waits for are in neither list.
        """
        batch: list[Job] = []
        late: list[Job] = []
        now = time.perf_counter()
        with self._lock:
            if not self._wants_engine(row_seconds):
                return batch, late
            rows, most = 0, self._most(row_seconds)
            while self._jobs:
                job = self._jobs[0]
                is_late = now - job.queued_at > self._limits.queue_seconds
                joins = not batch or self._joins(job, batch, rows, most)
                if not (joins or is_late or job.future.done()):
                    break
                self._rows -= self._jobs.popleft().rows
                if job.future.done():
                    continue
                if is_late:
                    late.append(job)
                    continue
                batch.append(job)
                rows += job.rows
            self._running += bool(batch)
        return batch, late

    def done(self) -> None:
        """Note that a batch was computed."""
        with self._lock:
            self._running -= 1

    def _is_cheap(self, row_seconds: float) -> bool:
        few, many = _FEW_ROWS * row_seconds, _CHEAP_ROWS * row_seconds
        return few >= HOP_SECONDS and many <= self._limits.inline_seconds

    def _most(self, row_seconds: float) -> int:
        if not self._is_cheap(row_seconds):
            return self._limits.rows
        return min(self._limits.rows, max(_FEW_ROWS, -(-self._rows // 2)))

    def _joins(self, job: Job, batch: Sequence[Job], rows: int, most: int) -> bool:
        """Parts of one request stay apart, or only one engine would work on it."""
        fits = self._merges and rows + job.rows <= most
        return fits and not (job.is_part and batch[0].is_part) and job.kind == batch[0].kind
