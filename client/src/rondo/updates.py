"""A client's update on its own disk: whole before anybody hears of it, kept until it is judged."""

import shutil
from collections.abc import Container, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from rondo.files import write_whole
from rondo.history import Attempt
from rondo_core.client_wire import Declaration
from rondo_core.errors import LayoutMismatch
from rondo_core.weights import Layout, decode, digest, layout_of_file, sha256_file

__all__ = ["Base", "Pending", "drop_update", "drop_updates", "load_update", "save_update"]


@dataclass(frozen=True, slots=True)
class Base:
    """The version that a round starts from.

    Attributes:
        layout: of this and all other weights of the model.
        flat: float32 (size,), read-only.
    """

    layout: Layout
    flat: NDArray[np.float32]

    @classmethod
    def read(cls, path: Path, layout_digest: str) -> "Base":
        """Read a downloaded version.

        Raises:
            HeaderInvalid: the file does not begin as a version does.
            LayoutMismatch: it is a version of another model.
        """
        data = path.read_bytes()
        layout = layout_of_file(data)
        if layout.digest != layout_digest:
            raise LayoutMismatch("(header)", f"layout {layout.digest}, expected {layout_digest}")
        return cls(layout, decode(data, layout))

    def delta(self, new: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
        """Return new minus base, float32 (size,); what is not finite stays so.

        Raises:
            LayoutMismatch: the trainer gave other tensors than it was given; names the layer.
        """
        with np.errstate(invalid="ignore", over="ignore"):
            return self.layout.flatten(new) - self.flat

    @property
    def weights(self) -> dict[str, NDArray[np.float32]]:
        """The tensors by name, as read-only views."""
        return self.layout.to_arrays(self.flat)


class Pending(msgspec.Struct, frozen=True, kw_only=True):
    """An update that is on disk: for what, what will be declared, how long it took to make."""

    attempt: Attempt
    declaration: Declaration
    seconds: float


def save_update(
    folder: Path,
    data: bytes,
    *,
    attempt: Attempt,
    examples: int,
    steps: float | None,
    metrics: dict[str, float],
    seconds: float,
) -> tuple[Pending, Path]:
    """Write an update's file, and then what will be declared.

    NaN is written too: an update that is refused tells the federation at once that it need not
    wait for this client.
    """
    write_whole(_file(folder), data)
    pending = Pending(
        attempt=attempt,
        declaration=Declaration(
            sha256=digest(data), size=len(data), examples=examples, metrics=metrics, steps=steps
        ),
        seconds=seconds,
    )
    write_whole(folder / "declaration.json", msgspec.json.encode(pending))
    return pending, _file(folder)


def load_update(folder: Path, *, settled: Container[str]) -> tuple[Pending, Path] | None:
    """Return the update that `save_update` finished in this folder, and its file.

    Returns:
        None where it is not whole, or of an attempt that is ``settled`` (their names).
    """
    try:
        pending = msgspec.json.decode((folder / "declaration.json").read_bytes(), type=Pending)
        if pending.attempt.name in settled:
            return None
        found = sha256_file(_file(folder))
    except (FileNotFoundError, msgspec.MsgspecError):
        return None
    return (pending, _file(folder)) if found == pending.declaration.sha256 else None


def drop_update(folder: Path) -> None:
    """Delete one update: it will never be taken."""
    shutil.rmtree(folder)


def drop_updates(updates: Path) -> None:
    """Delete all updates: they are settled, or were never whole."""
    for folder in updates.glob("*"):
        drop_update(folder)


def _file(folder: Path) -> Path:
    return folder / "update.safetensors"
