"""SCAFFOLD's control variates on a client's disk.

All are in units of a step: the paper's c and c_k times the local learning rate.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rondo.files import write_whole
from rondo.history import Attempt
from rondo.home import plain_name
from rondo_core.weights import Layout, decode, encode

__all__ = ["Controls", "Correction"]

Float32Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Correction:
    """What one round is corrected by.

    Attributes:
        own: c_k, float32 (size,).
        server: c, float32 (size,).
    """

    own: Float32Array
    server: Float32Array

    @property
    def drift(self) -> Float32Array:
        """What is subtracted from the weights with every step: c - c_k."""
        return self.server - self.own

    def after(self, delta: Float32Array, steps: float) -> Float32Array:
        """Return the client's next variate, option II: c_k - c + (x - y) / steps.

        Args:
            delta: y - x, as it is sent.
            steps: that the training was worth, at least 1.

        Source: Karimireddy et al., 2020, Algorithm 1 (arXiv:1910.06378).

        >>> one = np.float32([1.0])
        >>> Correction(one, 3 * one).after(np.float32([-8.0]), 2)
        array([2.], dtype=float32)
        """
        own, server = self.own.astype(np.float64), self.server.astype(np.float64)
        with np.errstate(over="ignore", invalid="ignore"):
            return (own - server - delta.astype(np.float64) / steps).astype(np.float32)


class Controls:
    """The client's own variates: one for each update that may turn out to be the last counted.

    An update that was accepted need not count, since its attempt can be given up. So the variate
    that came with it takes the place of the older one only when the gateway says so.

    Args:
        folder: need not exist; `drop` deletes it with all that lies in it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def save(self, attempt: Attempt, layout: Layout, variate: Float32Array) -> None:
        """Keep the variate that belongs to an update; before the update is whole itself."""
        write_whole(self._path(attempt), encode(layout, variate))

    def load(
        self, attempt: Attempt, layout: Layout, *, counted: Callable[[Attempt], bool]
    ) -> Float32Array:
        """Return the variate of the last update before an attempt that counted; zeros without one.

        Others are deleted, also those of other runs.

        Args:
            attempt: that begins now.
            layout: of the model.
            counted: asks whether an attempt made a version with the client's update in it.
        """
        known = {self._path(one): one for one in self._attempts(attempt.run_id)}
        now = (attempt.round, attempt.attempt)
        before = [path for path, one in sorted(known.items()) if (one.round, one.attempt) < now]
        while before and not counted(known[before[-1]]):
            before.pop()
        for path in self._folder.glob("*.safetensors"):
            if path != (before[-1] if before else None):
                path.unlink()
        if not before:
            return np.zeros(layout.size, np.float32)
        return decode(before[-1].read_bytes(), layout)

    def drop(self) -> None:
        """Delete all: the run is over."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _path(self, attempt: Attempt) -> Path:
        name = plain_name("run", attempt.run_id)
        return self._folder / f"{name}-{attempt.round:06d}-{attempt.attempt:02d}.safetensors"

    def _attempts(self, run_id: str) -> list[Attempt]:
        found = []
        for path in self._folder.glob("*.safetensors"):
            run, round_, attempt = path.stem.rsplit("-", 2)
            if run == run_id:
                found.append(Attempt(run, int(round_), int(attempt)))
        return found
