"""SCAFFOLD's control variates on a client's disk.

All are in units of a step: the paper's c and c_k times the local learning rate.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rondo.files import write_whole
from rondo.history import Attempt
from rondo.home import plain_name
from rondo_core.weights import Layout, decode, encode

__all__ = ["RUNS_KEPT", "Controls", "Correction"]

RUNS_KEPT = 8
"""Other runs whose variates stay, the newest ones: they may go on, or their end was never heard."""

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
        folder: need not exist.

    Attributes:
        server: the folder for the newest copy of the server's variate.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.server = folder / "server"

    def save(self, attempt: Attempt, layout: Layout, variate: Float32Array) -> None:
        """Keep the variate that belongs to an update; before the update is whole itself."""
        write_whole(self._path(attempt), encode(layout, variate))

    def load(
        self, attempt: Attempt, layout: Layout, *, counted: Callable[[Attempt], bool]
    ) -> Float32Array:
        """Return the variate of the last update before an attempt that counted; zeros without one.

        Others of its run are deleted, and those of all but the newest other runs.

        Args:
            attempt: that begins now.
            layout: of the model.
            counted: asks whether an attempt made a version with the client's update in it.
        """
        known = self._variates().get(attempt.run_id, {})
        now = (attempt.round, attempt.attempt)
        before = [path for path, one in sorted(known.items()) if (one.round, one.attempt) < now]
        while before and not counted(known[before[-1]]):
            before.pop()
        for path in known:
            if path not in before[-1:]:
                path.unlink()
        self._forget_old_runs(attempt.run_id)
        if not before:
            return np.zeros(layout.size, np.float32)
        return decode(before[-1].read_bytes(), layout)

    def drop(self, run_id: str) -> None:
        """Delete what is of a run that is over; another run fetches the copy of its c again."""
        for path in self._variates().get(run_id, {}):
            path.unlink()
        shutil.rmtree(self.server, ignore_errors=True)

    def _path(self, attempt: Attempt) -> Path:
        name = plain_name("run", attempt.run_id)
        return self._folder / f"{name}-{attempt.round:06d}-{attempt.attempt:02d}.safetensors"

    def _variates(self) -> dict[str, dict[Path, Attempt]]:
        """Return run -> file -> the attempt that it was made in."""
        found: dict[str, dict[Path, Attempt]] = {}
        for path in self._folder.glob("*.safetensors"):
            run, round_, attempt = path.stem.rsplit("-", 2)
            found.setdefault(run, {})[path] = Attempt(run, int(round_), int(attempt))
        return found

    def _forget_old_runs(self, run_id: str) -> None:
        """Bound what is left of other runs."""
        others = [files for run, files in self._variates().items() if run != run_id]
        others.sort(key=lambda files: max(path.stat().st_mtime_ns for path in files), reverse=True)
        for path in chain.from_iterable(others[RUNS_KEPT:]):
            path.unlink()
