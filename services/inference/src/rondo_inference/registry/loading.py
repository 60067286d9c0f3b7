"""Loads versions that requests ask for: one load for any number of callers, off the event loop."""

import asyncio
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
from rondo_inference.registry.standing_back import Patience

__all__ = ["Loading"]


@dataclass(slots=True)
class Loading:
    """Loads on demand; used by one event loop.

    Attributes:
        bring: see ``Memory.bring``; blocks.
        catalogue: where a failure is noted.
        executor: its one thread loads.
        patience: of loads that nobody waits for.
    """

    bring: Callable[[AliasRow], ServedModel]
    catalogue: Catalogue
    executor: Executor
    patience: Patience
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
            with self.patience.hurry():
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
        with self.patience.hurry():
            return await loop.run_in_executor(self.executor, drop)
