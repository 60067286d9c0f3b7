"""One row of the table of what is served, and how its versions stand."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from rondo_core.model_rows import AliasRow
from rondo_inference.registry.served import ServedModel, same_version

__all__ = ["Failure", "Slot", "VersionState", "VersionStatus", "statuses"]

VersionState = Literal["START", "LOADING", "AVAILABLE", "UNLOADING", "END"]


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a version could not be loaded; ``final`` says that the version itself is to blame."""

    reason: str
    final: bool


@dataclass(frozen=True, slots=True)
class Slot:
    """One alias: the version that it names, and the version that answers, which may be older.

    Attributes:
        wanted: what the alias names.
        served: what answers now.
        failure: why ``wanted`` could not be loaded.
        lazy: it is loaded when somebody asks for it.
    """

    wanted: AliasRow
    served: ServedModel | None = None
    failure: Failure | None = None
    lazy: bool = False

    @property
    def is_current(self) -> bool:
        """Whether the version that answers is the one that the alias names."""
        return self.served is not None and same_version(self.served.alias, self.wanted)

    @property
    def state(self) -> VersionState:
        """Whether anything answers; if not, whether that may change soon."""
        if self.served is not None:
            return "AVAILABLE"
        if self.failure is not None:
            return "END"
        return "START" if self.lazy else "LOADING"

    @property
    def settled(self) -> bool:
        """Whether there is nothing to wait for before the process is ready."""
        failed = self.failure is not None and self.failure.final
        return self.served is not None or self.lazy or failed


@dataclass(frozen=True, slots=True)
class VersionStatus:
    """How one version of a model stands; ``reason`` says why it is not available."""

    version: int
    state: VersionState
    reason: str = ""


def statuses(slot: Slot) -> Iterator[VersionStatus]:
    """Yield how the version that answers stands, and the one that is wanted."""
    if slot.served is not None:
        yield VersionStatus(slot.served.version, "AVAILABLE")
    if slot.failure is not None:
        yield VersionStatus(slot.wanted.model_version, "END", slot.failure.reason)
    elif not slot.is_current:
        yield VersionStatus(slot.wanted.model_version, "START" if slot.lazy else "LOADING")
