"""One row of the table of what is served, and how its versions stand."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from rondo_core.errors import Unavailable
from rondo_core.model_rows import AliasRow
from rondo_inference.registry.served import ServedModel, same_version

__all__ = ["Slot", "VersionState", "VersionStatus", "statuses", "unavailable"]

VersionState = Literal["START", "LOADING", "AVAILABLE", "UNLOADING", "END"]


@dataclass(frozen=True, slots=True)
class Slot:
    """One alias: the version that it names, and the version that answers, which may be older.

    Attributes:
        wanted: what the alias names.
        served: what answers now.
        failure: why ``wanted`` could not be loaded when that was last tried; else empty.
        lazy: it is loaded when somebody asks for it.
        unloaded: somebody unloaded the model: nothing loads it but a call that says so.
    """

    wanted: AliasRow
    served: ServedModel | None = None
    failure: str = ""
    lazy: bool = False
    unloaded: bool = False

    @property
    def is_current(self) -> bool:
        """Whether the version that answers is the one that the alias names."""
        return self.served is not None and same_version(self.served.alias, self.wanted)

    @property
    def state(self) -> VersionState:
        """Whether anything answers; if not, whether that may change soon."""
        if self.served is not None:
            return "AVAILABLE"
        if self.reason:
            return "END"
        return "START" if self.lazy else "LOADING"

    @property
    def settled(self) -> bool:
        """Whether there is nothing to wait for: some version answers, or none is meant to now."""
        waits_for_a_request = self.lazy and not self.failure
        return self.served is not None or self.unloaded or waits_for_a_request

    @property
    def loadable(self) -> bool:
        """Whether a request may load it."""
        return self.lazy and not self.unloaded

    @property
    def reason(self) -> str:
        """Why the version that is wanted does not answer; empty where nothing is wrong."""
        return "unloaded" if self.unloaded else self.failure


@dataclass(frozen=True, slots=True)
class VersionStatus:
    """How one version of a model stands.

    Attributes:
        version: its number.
        state: in TensorFlow Serving's words.
        reason: why it is not available; empty where nothing is wrong.
        failed: it could not be loaded; else whoever unloaded it is the reason.
    """

    version: int
    state: VersionState
    reason: str = ""
    failed: bool = False


def statuses(slot: Slot) -> Iterator[VersionStatus]:
    """Yield how the version that answers stands, and the one that is wanted."""
    if slot.served is not None:
        yield VersionStatus(slot.served.version, "AVAILABLE")
    if slot.reason:
        failed = not slot.unloaded
        yield VersionStatus(slot.wanted.model_version, "END", slot.reason, failed)
    elif not slot.is_current:
        yield VersionStatus(slot.wanted.model_version, "START" if slot.lazy else "LOADING")


def unavailable(slot: Slot) -> Unavailable:
    """Say why a slot does not answer."""
    reason = slot.reason or "it is being loaded"
    return Unavailable(
        f"version {slot.wanted.model_version} of model {slot.wanted.model!r} is not served: "
        f"{reason}"
    )
