"""How requests are gathered, and why one is not."""

from dataclasses import dataclass

from rondo_core.errors import Unavailable

__all__ = ["BatchLimits", "DeadlinePassed", "QueueFull"]


class QueueFull(Unavailable):
    """More rows wait than allowed; the caller should come again later."""


class DeadlinePassed(Unavailable):
    """The request waited too long for an engine."""


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """How a batcher behaves.

    Attributes:
        rows: the largest batch; more rows are computed in turn.
        queue_rows: so many may wait; a request that finds an empty queue is always taken.
        queue_seconds: a request that waited longer is refused.
        engines: batches of one version that are computed at a time.
        inline_seconds: a single request that is expected to take no longer is computed in the event
            loop, which answers nobody else meanwhile.
    """

    rows: int = 64
    queue_rows: int = 4096
    queue_seconds: float = 10.0
    engines: int = 1
    inline_seconds: float = 0.002
