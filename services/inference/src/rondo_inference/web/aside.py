"""Long work goes to other threads, so that nobody waits for it in the event loop."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from typing import TypeVar

__all__ = ["INLINE_BYTES", "aside"]

INLINE_BYTES = 64 * 1024
"""Larger bodies are read and written in another thread, so that nobody waits for them."""

T = TypeVar("T")


async def aside(readers: Executor, size: int, work: Callable[..., T], *values: object) -> T:
    """Return what ``work`` makes of ``values``: here where it is short, else in another thread.

    Args:
        readers: the threads.
        size: bytes that are read or written.
        work: a pure function.
        values: its arguments.
    """
    if size <= INLINE_BYTES:
        return work(*values)
    return await asyncio.get_running_loop().run_in_executor(readers, work, *values)
