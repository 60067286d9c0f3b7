"""The table of what is served: one writer, any number of readers, no lock.

A reader takes one reference to an immutable slot and keeps to it; the writer makes a new slot and
stores one reference. So a swap loses no request, and no answer mixes two versions.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from rondo_core.errors import Invalid, NotFound, Unavailable
from rondo_core.keys import CHAMPION
from rondo_core.model_rows import AliasRow
from rondo_inference.registry.served import ServedModel

__all__ = ["Catalogue", "Failure", "Slot", "VersionState", "VersionStatus"]

VersionState = Literal["LOADING", "AVAILABLE", "END"]


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a version could not be loaded; ``final`` says that the version itself is to blame."""

    reason: str
    final: bool


@dataclass(frozen=True, slots=True)
class Slot:
    """One alias: the version that it names, and the version that answers, which may be older."""

    wanted: AliasRow
    served: ServedModel | None = None
    failure: Failure | None = None

    @property
    def is_current(self) -> bool:
        """Whether the version that answers is the one that the alias names."""
        return self.served is not None and self.served.alias == self.wanted

    @property
    def state(self) -> VersionState:
        """Whether anything answers; if not, whether that may change soon."""
        if self.served is not None:
            return "AVAILABLE"
        return "LOADING" if self.failure is None else "END"


@dataclass(frozen=True, slots=True)
class VersionStatus:
    """How one version of a model stands."""

    version: int
    state: VersionState
    reason: str = ""


class Catalogue:
    """All aliases by model and label. Only the watcher's thread may call what changes it."""

    def __init__(self) -> None:
        self._slots: dict[tuple[str, str], Slot] = {}
        self._ready = False

    @property
    def ready(self) -> bool:
        """Whether every alias of a first complete scan is served, or is not to be served at all."""
        return self._ready

    def slots(self) -> list[Slot]:
        """Return all aliases by model and label. Never blocks."""
        return [slot for _, slot in sorted(self._slots.items())]

    def find(self, model: str, *, label: str = CHAMPION, version: int | None = None) -> ServedModel:
        """Return the version that an alias serves now, or the served version of that number.

        Raises:
            NotFound: no such model, label or version.
            Unavailable: the alias is known and nothing is loaded for it yet.
        """
        if version is not None:
            return self._numbered(model, version)
        slot = self._slots.get((model, label))
        if slot is None:
            raise NotFound(self._unknown(model, f"label {label!r}"))
        if slot.served is None:
            reason = slot.failure.reason if slot.failure else "it is being loaded"
            raise Unavailable(
                f"version {slot.wanted.model_version} of model {model!r} is not served: {reason}"
            )
        return slot.served

    def only(self) -> ServedModel:
        """Return the champion of the only model.

        Raises:
            Invalid: several models are served; the text names them.
            Unavailable: none is.
        """
        names = self._names()
        if not names:
            raise Unavailable("no model is served yet")
        if len(names) > 1:
            raise Invalid(f"name the model; served are {', '.join(names)}")
        return self.find(names[0])

    def status(self, model: str) -> list[VersionStatus]:
        """Return how the versions of a model stand, ascending.

        Raises:
            NotFound: no such model.
        """
        found: dict[int, VersionStatus] = {}
        for slot in self._of(model):
            for status in _statuses(slot):
                if status.state == "AVAILABLE" or status.version not in found:
                    found[status.version] = status
        if not found:
            raise NotFound(self._unknown(model, ""))
        return [found[version] for version in sorted(found)]

    def store(self, slot: Slot) -> None:
        """Let a slot answer from now on; requests under way keep the version that they hold."""
        key = (slot.wanted.model, slot.wanted.label)
        self._slots = {**self._slots, key: slot}

    def drop(self, model: str, label: str) -> None:
        """Forget an alias that is no longer there."""
        self._slots = {key: slot for key, slot in self._slots.items() if key != (model, label)}

    def settle(self) -> None:
        """Become ready, once, if the scan that just ended left nothing to wait for."""
        self._ready = self._ready or all(
            slot.served is not None or (slot.failure is not None and slot.failure.final)
            for slot in self._slots.values()
        )

    def _of(self, model: str) -> Iterator[Slot]:
        return (slot for (name, _), slot in self._slots.items() if name == model)

    def _names(self) -> list[str]:
        return sorted({name for name, _ in self._slots})

    def _numbered(self, model: str, version: int) -> ServedModel:
        for slot in self._of(model):
            if slot.served is not None and slot.served.version == version:
                return slot.served
        raise NotFound(self._unknown(model, f"version {version}"))

    def _unknown(self, model: str, part: str) -> str:
        names = self._names()
        if model in names:
            versions = sorted(
                {slot.served.version for slot in self._of(model) if slot.served is not None}
            )
            return f"model {model!r} has no {part}; served versions: {versions}"
        return f"no model {model!r}; served are: {', '.join(names) or 'none'}"


def _statuses(slot: Slot) -> Iterator[VersionStatus]:
    if slot.served is not None:
        yield VersionStatus(slot.served.version, "AVAILABLE")
    if slot.failure is not None:
        yield VersionStatus(slot.wanted.model_version, "END", slot.failure.reason)
    elif not slot.is_current:
        yield VersionStatus(slot.wanted.model_version, "LOADING")
