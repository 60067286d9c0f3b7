"""Loads give way to requests: by their niceness, and by resting between their steps.

Niceness alone does not do. On as many CPUs as the server keeps busy, each millisecond of a load is
one that requests wait, since they go on two threads that wait for each other, and it is seldom that
both are idle.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rondo_inference.domain.standing_back import rest_seconds

__all__ = ["A_REQUEST_WAITS", "NOBODY_WAITS", "Patience", "yield_the_cpu"]

A_REQUEST_WAITS = 10
"""Niceness of a load that a request asked for: below those that are only to be computed, but a
process that has all it can do must come to it."""
NOBODY_WAITS = 19
"""Niceness of a load by a promotion, meanwhile the version before answers."""


def yield_the_cpu(niceness: int) -> None:
    """Let the calling thread compute only when no request needs the CPU; to be called at its start.

    Args:
        niceness: how far it stands back, 1 to 19.

    Source: setpriority(2): on Linux the niceness is a thread's own.
    """
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), niceness)


class Patience:
    """Lets a load rest between its steps unless somebody waits for one. Safe for several threads.

    Args:
        sleep: rests so many seconds; None: until somebody waits for a load, at most so long.
    """

    def __init__(self, sleep: Callable[[float], object] | None = None) -> None:
        self._changes = threading.Lock()
        self._waiting = 0
        self._somebody_waits = threading.Event()
        self._sleep = sleep if sleep is not None else self._somebody_waits.wait

    @contextmanager
    def step(self) -> Iterator[None]:
        """Do a part of a load, then rest if the other threads of the process compute much."""
        began, own_before, all_before = time.perf_counter(), time.thread_time(), time.process_time()
        yield
        own = time.thread_time() - own_before
        others = time.process_time() - all_before - own
        seconds = rest_seconds(own, others, time.perf_counter() - began)
        if seconds and not self._somebody_waits.is_set():
            self._sleep(seconds)

    @contextmanager
    def hurry(self) -> Iterator[None]:
        """Let no load rest meanwhile: they take turns, and somebody waits for one."""
        self._count(1)
        try:
            yield
        finally:
            self._count(-1)

    def _count(self, change: int) -> None:
        with self._changes:
            self._waiting += change
            (self._somebody_waits.set if self._waiting else self._somebody_waits.clear)()
