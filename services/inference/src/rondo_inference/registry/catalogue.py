"""The table of what is served: any number of readers, no lock.

A reader takes one reference to an immutable slot and keeps to it; the writer makes a new slot and
stores one reference. So a swap loses no request, and no answer mixes two versions. Writers take
turns (`Catalogue.change`).
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from rondo_core.errors import Invalid, NotFound, Unavailable
from rondo_core.keys import CHAMPION
from rondo_core.model_rows import AliasRow
from rondo_inference.domain.traffic import EVERYTHING_TO_CHAMPION, Traffic
from rondo_inference.registry.served import ServedModel, same_version
from rondo_inference.registry.slots import Slot, VersionStatus, statuses, unavailable

__all__ = ["Catalogue"]

_NONE: Mapping[str, Any] = MappingProxyType({})


class Catalogue:  # noqa: PLR0904  (readers and writers of one table)
    """All aliases, by model and label. Starts empty and not ready."""

    def __init__(self) -> None:
        self._slots: dict[tuple[str, str], Slot] = {}
        self._traffic: Mapping[str, Traffic] = {}
        self._faults: Mapping[str, str] = {}
        self._ready = False
        self._change = threading.Lock()

    @property
    def ready(self) -> bool:
        """Whether the champions of all models have answered once; then it stays so.

        So no replica is taken out of service by what is promoted later, when others serve as well.
        """
        return self._ready

    @property
    def complete(self) -> bool:
        """Whether the champions of all models answer now, or will when they are asked."""
        return self._ready and not self.lacking()

    def lacking(self) -> list[str]:
        """Say what does not answer though it should, a few words for each model."""
        slots = [slot for slot in self.slots() if slot.wanted.label == CHAMPION]
        good = {slot.wanted.model for slot in slots if slot.settled}
        unread = [fault for model, fault in sorted(self._faults.items()) if model not in good]
        return unread + [
            f"model {slot.wanted.model!r} "
            + ("cannot be loaded" if slot.failure else "is being loaded")
            for slot in slots
            if not slot.settled
        ]

    def slots(self) -> list[Slot]:
        """Return all aliases by model and label. Never blocks."""
        return [slot for _, slot in sorted(self._slots.items())]

    def resolve(
        self, model: str | None, *, label: str | None = None, version: int | None = None
    ) -> Slot:
        """Return the slot of an alias, or the slot that has a version.

        Args:
            model: None for the only model that there is.
            label: None for the champion.
            version: its number; a label is not looked at then.

        Raises:
            NotFound: no such model, label or version.
            Invalid: no model is named and there are several.
            Unavailable: no model is named and there is none.
        """
        name = self.only_name() if model is None else model
        if version is not None:
            return self._numbered(name, version)
        slot = self._slots.get((name, label or CHAMPION))
        if slot is None:
            raise NotFound(self._unknown(name, f"label {label or CHAMPION!r}"))
        return slot

    def find(self, model: str, *, label: str = CHAMPION, version: int | None = None) -> ServedModel:
        """Return the version that answers now.

        Raises:
            NotFound: no such model, label or version.
            Unavailable: it is known and not loaded.
        """
        slot = self.resolve(model, label=label, version=version)
        if slot.served is None:
            raise unavailable(slot)
        return slot.served

    def only_name(self) -> str:
        """Return the name of the only model; see `resolve` for what is raised."""
        names = self.names()
        if not names:
            raise Unavailable("no model is served yet")
        if len(names) > 1:
            raise Invalid(f"name the model; served are {_few(names)}")
        return names[0]

    def traffic(self, model: str) -> Traffic:
        """Return how requests without a label are split. Never blocks."""
        return self._traffic.get(model, EVERYTHING_TO_CHAMPION)

    def status(self, model: str) -> list[VersionStatus]:
        """Return how the versions of a model stand, ascending.

        Raises:
            NotFound: no such model.
        """
        found: dict[int, VersionStatus] = {}
        for slot in self.of(model):
            for status in statuses(slot):
                if status.state == "AVAILABLE" or status.version not in found:
                    found[status.version] = status
        if not found:
            raise NotFound(self._unknown(model, ""))
        return [found[version] for version in sorted(found)]

    def want(self, alias: AliasRow, *, lazy: bool) -> Slot:
        """Note what an alias names; what answered goes on meanwhile. Return the slot.

        Where somebody unloaded the model, another version or label of it stays unloaded too.
        """
        with self._change:
            old = self._slots.get((alias.model, alias.label))
            unloaded = any(slot.unloaded for slot in self.of(alias.model))
            served = old.served if old is not None else None
            if lazy and not unloaded:
                served = self.loaded(alias)
            slot = Slot(alias, served, lazy=lazy, unloaded=unloaded)
            self._slots = {**self._slots, (alias.model, alias.label): slot}
        return slot

    def fail(self, alias: AliasRow, reason: str) -> None:
        """Note why the version that an alias names could not be loaded, if it still names it."""
        self._each(lambda slot: replace(slot, failure=reason) if slot.wanted == alias else slot)

    def unload(self, model: str) -> list[ServedModel]:
        """Let nothing of a model answer until `release`; return what answered."""
        loaded: dict[int, ServedModel] = {}

        def unloaded(slot: Slot) -> Slot:
            if slot.wanted.model != model:
                return slot
            if slot.served is not None:
                loaded[id(slot.served)] = slot.served
            return replace(slot, served=None, failure="", unloaded=True)

        self._each(unloaded)
        return list(loaded.values())

    def release(self, model: str) -> None:
        """Let a model be loaded again that somebody unloaded."""
        self._each(
            lambda slot: replace(slot, unloaded=False) if slot.wanted.model == model else slot
        )

    def store(self, slot: Slot) -> None:
        """Let a slot answer from now on; requests under way keep the version that they hold."""
        key = (slot.wanted.model, slot.wanted.label)
        with self._change:
            self._slots = {**self._slots, key: slot}

    def fill(self, served: ServedModel) -> None:
        """Let a version answer for every alias that names it."""
        self._each(
            lambda slot: (
                Slot(slot.wanted, served, lazy=slot.lazy)
                if same_version(slot.wanted, served.alias) and not slot.unloaded
                else slot
            )
        )

    def empty(self, served: ServedModel) -> None:
        """Let a version answer no more; it is loaded again when somebody asks for it."""
        self._each(
            lambda slot: replace(slot, served=None, lazy=True) if slot.served is served else slot
        )

    def loaded(self, alias: AliasRow) -> ServedModel | None:
        """Return a version that answers under any label, or None."""
        found = (slot.served for slot in self.of(alias.model) if slot.served is not None)
        return next((served for served in found if same_version(served.alias, alias)), None)

    def drop(self, model: str, label: str) -> None:
        """Forget an alias that is no longer there."""
        with self._change:
            self._slots = {key: slot for key, slot in self._slots.items() if key != (model, label)}

    def settle(
        self, traffic: Mapping[str, Traffic] = _NONE, faults: Mapping[str, str] = _NONE
    ) -> None:
        """Note what the scan that just ended found; become ready if there is nothing to wait for.

        Args:
            traffic: how requests without a label are split, by model.
            faults: what could not be read of a model, by its name; "" for all models.
        """
        self._traffic, self._faults = dict(traffic), dict(faults)
        self._ready = self._ready or not self.lacking()

    def _each(self, change: Callable[[Slot], Slot]) -> None:
        with self._change:
            self._slots = {key: change(slot) for key, slot in self._slots.items()}

    def of(self, model: str) -> Iterator[Slot]:
        """Yield the slots of a model."""
        return (slot for (name, _), slot in self._slots.items() if name == model)

    def names(self) -> list[str]:
        """Return the models that are known, sorted."""
        return sorted({name for name, _ in self._slots})

    def versions(self, model: str) -> list[int]:
        """Return the versions of a model that can be asked for, ascending."""
        return _versions(self.of(model))

    def _numbered(self, model: str, version: int) -> Slot:
        for slot in self.of(model):
            if slot.served is not None and slot.served.version == version:
                return slot
        wanting = [slot for slot in self.of(model) if slot.wanted.model_version == version]
        if wanting:  # who can be loaded comes first
            return max(wanting, key=lambda slot: slot.loadable)
        raise NotFound(self._unknown(model, f"version {version}"))

    def _unknown(self, model: str, part: str) -> str:
        names = self.names()
        if model in names:
            return f"model {model!r} has no {part}; served versions: {self.versions(model)}"
        return f"no model {model!r}; served are: {_few(names) or 'none'}"


def _few(names: list[str]) -> str:
    return ", ".join(names[:10]) + (" …" if len(names) > 10 else "")  # noqa: PLR2004


def _versions(slots: Iterable[Slot]) -> list[int]:
    known = (slot for slot in slots if slot.served or slot.loadable)
    return sorted({(slot.served.alias if slot.served else slot.wanted).model_version
                   for slot in known})  # fmt: skip
