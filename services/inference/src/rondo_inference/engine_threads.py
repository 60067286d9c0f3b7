"""The threads that engines compute in, shared by all versions."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self

__all__ = ["EngineThreads"]


class EngineThreads:
    """Threads, and whether anything waits for one: who computes goes on with its own if not.

    To give each batch to another thread would cost a wake-up, and a cold cache.

    Args:
        count: how many.
    """

    def __init__(self, count: int) -> None:
        self._executor = ThreadPoolExecutor(count, thread_name_prefix="engine")
        self._lock = threading.Lock()
        self._waiting = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End them, when all that was given to them is done."""
        self._executor.shutdown()

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
