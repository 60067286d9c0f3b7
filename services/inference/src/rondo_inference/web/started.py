"""Coroutines that are begun at once: most answers never wait, and then need no task.

Python 3.12 has eager tasks; this is for 3.11 too.
"""

import asyncio
from collections.abc import Callable, Coroutine, Generator
from contextvars import copy_context
from dataclasses import dataclass
from typing import Any

__all__ = ["started"]


def started(coroutine: Coroutine[Any, Any, None]) -> "asyncio.Task[None] | None":
    """Run a coroutine up to where it waits; return a task of the rest, None: there is none.

    What runs here has its own context, as in a task, but no current task.

    Raises:
        Exception: whatever it raised before it waited.
    """
    context = copy_context()
    try:
        waits_for = context.run(coroutine.send, None)
    except StopIteration:
        return None
    rest = _awaited(_Rest(coroutine, waits_for))
    task = asyncio.get_running_loop().create_task(rest, context=context)
    task.add_done_callback(lambda _: coroutine.close())  # cancelled before it could be told so
    return task


@dataclass(frozen=True, slots=True)
class _Rest:
    """A coroutine that has begun, and the future that it gave to whoever drives it."""

    coroutine: Coroutine[Any, Any, None]
    waits_for: Any

    def __await__(self) -> Generator[Any, Any, None]:
        waits_for = self.waits_for
        go_on: Callable[[Any], Any]
        while True:
            try:
                sent = yield waits_for
            except BaseException as exc:  # noqa: BLE001  (cancellation is passed on, too)
                go_on, value = self.coroutine.throw, exc
            else:
                go_on, value = self.coroutine.send, sent
            try:
                waits_for = go_on(value)
            except StopIteration:
                return


async def _awaited(rest: _Rest) -> None:
    await rest
