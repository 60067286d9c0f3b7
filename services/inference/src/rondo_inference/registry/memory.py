"""Which versions are in memory: loading one at a time, under a cap, evicting who is idle longest.

How much a version takes is measured: by how much the process grew while it was loaded and warmed.
"""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from rondo_core.errors import Unavailable
from rondo_core.model_rows import AliasRow
from rondo_inference.registry.catalogue import Catalogue
from rondo_inference.registry.heap import give_back
from rondo_inference.registry.served import ServedModel, same_version
from rondo_inference.stats import StatsBook

__all__ = ["Memory", "NoRoom", "resident_bytes"]

log = logging.getLogger(__name__)

LEAST_BYTES = 64 * 1024
"""What a version counts for at least: a session has structures beside its weights."""


class NoRoom(Unavailable):
    """The version does not fit under the cap beside those that are in use or pinned."""


def resident_bytes() -> int:
    """Return the process's resident memory, from the kernel.

    Source: proc(5), ``/proc/[pid]/statm``, in pages of 4096 bytes on every machine we run on.
    """
    with open("/proc/self/statm", "rb") as file:  # noqa: PTH123  (read on every load)
        return int(file.read().split()[1]) * 4096


@dataclass
class Memory:
    """The loaded versions. Safe to use from several threads; loads take turns.

    Attributes:
        catalogue: from which an evicted version disappears.
        load: makes an alias a served model.
        book: counts loads and evictions.
        cap_bytes: what all versions may take; 0: no bound.
        pinned: models that are never evicted.
        measure: returns the memory of the process.
    """

    catalogue: Catalogue
    load: Callable[[AliasRow], ServedModel]
    book: StatsBook
    cap_bytes: int = 0
    pinned: frozenset[str] = frozenset()
    measure: Callable[[], int] = resident_bytes
    _held: list[ServedModel] = field(default_factory=list)
    _uses: int = 0
    _sizes: dict[tuple[str, int], int] = field(default_factory=dict)
    _loads: threading.Lock = field(default_factory=threading.Lock)
    _leases: threading.Lock = field(default_factory=threading.Lock)
    _given: threading.Condition = field(init=False)

    def __post_init__(self) -> None:
        """Let a lease be waited for."""
        self._given = threading.Condition(self._leases)

    def take(self, served: ServedModel) -> bool:
        """Hold a version; False where it was evicted a moment ago. Never blocks for long."""
        with self._leases:
            if served.usage.evicted:
                return False
            served.usage.leases += 1
            self._used(served)
            return True

    def _used(self, served: ServedModel) -> None:
        self._uses += 1
        served.usage.last_use = self._uses

    def give(self, served: ServedModel) -> None:
        """Hold it no more."""
        with self._leases:
            served.usage.leases -= 1
            if served.usage.evicted:  # only then does anybody wait for the last lease
                self._given.notify_all()

    def bring(self, alias: AliasRow) -> ServedModel:
        """Let a version answer for its aliases, loaded now unless it is already.

        Blocks, also while others are loaded.

        Raises:
            NoRoom: it does not fit under the cap.
            RondoError: it cannot be loaded; see ``load_version``.
        """
        with self._loads:
            self._forget_swapped()
            found = next((one for one in self._held if same_version(one.alias, alias)), None)
            if found is not None:
                self.catalogue.fill(found)
                return found
            self._make_room(self._sizes.get((alias.model, alias.model_version), 0), alias)
            before = self.measure()
            served = self.load(alias)
            size = max(LEAST_BYTES, self.measure() - before)
            self._sizes[alias.model, alias.model_version] = size
            try:
                self._make_room(size, alias)
            except NoRoom:
                del served  # or the error, which knows this frame, would hold it
                give_back()
                raise
            served.usage.size_bytes = size
            with self._leases:  # as if somebody held it now
                self._used(served)
            self._held.append(served)
            self.catalogue.fill(served)
            self.book.note("load", alias.model)
            for engine in served.choice.dropped:
                self.book.dropped[engine, alias.model] += 1
            self._forget_swapped()
            give_back()
            return served

    def drop(self, served: ServedModel, *, patience_seconds: float) -> bool:
        """Evict a version and wait until nobody holds it. Blocks.

        Returns:
            Whether its memory is free now; False where somebody still holds it.
        """
        with self._loads:
            with self._leases:
                served.usage.evicted = True
            self._remove(served)
            with self._leases:
                free = self._given.wait_for(
                    lambda: not served.usage.leases, timeout=patience_seconds
                )
            give_back()
            return free

    def retire(self, served: ServedModel) -> None:
        """Let go of a version that was replaced, unless another alias still wants it."""
        with self._loads:
            slots = self.catalogue.slots()
            if not any(slot.served is served and not slot.lazy for slot in slots):
                self._remove(served)

    @property
    def loaded(self) -> tuple[ServedModel, ...]:
        """The loaded versions."""
        return tuple(self._held)

    @property
    def used_bytes(self) -> int:
        """What the loaded versions take, as measured."""
        return sum(served.usage.size_bytes for served in self._held)

    def _forget_swapped(self) -> None:
        """Versions that answer for no alias any more belong to who holds them, and then to none."""
        answering = {id(slot.served) for slot in self.catalogue.slots()}
        for served in [one for one in self._held if id(one) not in answering]:
            self._held.remove(served)

    def _make_room(self, size: int, alias: AliasRow) -> None:
        if not self.cap_bytes:
            return
        while self.used_bytes + size > self.cap_bytes:
            victim = self._claim_idle()
            if victim is None:
                raise NoRoom(
                    f"model {alias.model!r} takes {size} bytes, and {self.used_bytes} of "
                    f"{self.cap_bytes} are in use"
                )
            self._remove(victim)
            self.book.note("eviction", victim.name)
            log.info("evicted", extra={"model": victim.name, "version": victim.version})
            del victim  # or its memory would be counted while the next one is loaded
        give_back()

    def _claim_idle(self) -> ServedModel | None:
        """Choose whom nobody holds for longest, and let nobody take it any more: in one step.

        Who answers because a newer version could not be loaded goes last: it is not loaded again.
        """
        slots = self.catalogue.slots()
        last = {id(slot.served) for slot in slots if slot.failure and slot.served is not None}
        with self._leases:
            idle = [
                one for one in self._held if not one.usage.leases and one.name not in self.pinned
            ]
            found = min(idle, key=lambda one: (id(one) in last, one.usage.last_use), default=None)
            if found is not None:
                found.usage.evicted = True
            return found

    def _remove(self, served: ServedModel) -> None:
        self.catalogue.empty(served)
        if served in self._held:
            self._held.remove(served)
