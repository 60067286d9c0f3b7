"""The threads that engines compute in, shared by all versions."""

import threading
from collections.abc import Callable
from concurrent.futures import Executor

__all__ = ["EngineThreads"]


class EngineThreads:
    """Threads, and whether anything waits for one: who computes goes on with its own if not.

    To give each batch to another thread would cost a wake-up, and a cold cache.

    Args:
        executor: has them; who made it ends it.
    """

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._lock = threading.Lock()
        self._waiting = 0

    @property
    def wanted(self) -> bool:
        """Whether work waits for a thread."""
        return self._waiting > 0

    def begin(self, work: Callable[..., None], *values: object) -> None:
        """Let a thread do something as soon as one is free, in the order of the calls."""
        with self._lock:
            self._waiting += 1
        self._executor.submit(self._do, work, values)

    def _do(self, work: Callable[..., None], values: tuple[object, ...]) -> None:
        with self._lock:
            self._waiting -= 1
        work(*values)
