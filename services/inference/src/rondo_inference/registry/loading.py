"""Loads versions that requests ask for: one load for any number of callers, off the event loop."""

import asyncio
import os
import threading
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import partial

from rondo_core.errors import RondoError, Unavailable
from rondo_core.model_rows import AliasRow
from rondo_inference.registry.catalogue import Catalogue
from rondo_inference.registry.memory import Memory
from rondo_inference.registry.served import ServedModel
from rondo_inference.registry.slots import Slot

__all__ = ["A_REQUEST_WAITS", "NOBODY_WAITS", "Loading", "yield_the_cpu"]

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


@dataclass(slots=True)
class Loading:
    """Loads on demand; used by one event loop.

    Attributes:
        bring: see ``Memory.bring``; blocks.
        catalogue: where a failure is noted.
        executor: its one thread loads.
    """

    bring: Callable[[AliasRow], ServedModel]
    catalogue: Catalogue
    executor: Executor
    _running: dict[tuple[str, int], "asyncio.Task[ServedModel]"] = field(default_factory=dict)

    async def load(self, slot: Slot) -> ServedModel:
        """Return the version that the slot wants, when it is loaded.

        A caller who goes away does not stop the load, since others may wait for it.

        Raises:
            NoRoom: it does not fit.
            Unavailable: it cannot be loaded; the text says why.
        """
        key = (slot.wanted.model, slot.wanted.model_version)
        task = self._running.get(key)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._load(slot))
            self._running[key] = task
            task.add_done_callback(lambda _: self._running.pop(key, None))
        return await asyncio.shield(task)

    async def _load(self, slot: Slot) -> ServedModel:
        loop, alias = asyncio.get_running_loop(), slot.wanted
        try:
            return await loop.run_in_executor(self.executor, self.bring, alias)
        except Unavailable:
            raise
        except RondoError as exc:
            self.catalogue.fail(alias, str(exc))
            raise Unavailable(
                f"version {alias.model_version} of model {alias.model!r} cannot be loaded: {exc}"
            ) from exc

    async def unload(self, memory: Memory, served: ServedModel, seconds: float) -> bool:
        """Evict a version; return whether nobody holds it any more. See ``Memory.drop``."""
        loop = asyncio.get_running_loop()
        drop = partial(memory.drop, served, patience_seconds=seconds)
        return await loop.run_in_executor(self.executor, drop)
