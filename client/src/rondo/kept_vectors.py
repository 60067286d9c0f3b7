"""Vectors that go with a client's updates, on its disk: the last one that counted is the one."""

from collections.abc import Callable
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rondo.files import write_whole
from rondo.history import Attempt
from rondo.home import plain_name
from rondo_core.weights import Layout, decode, encode

__all__ = ["RUNS_KEPT", "KeptVectors"]

RUNS_KEPT = 8
"""Other runs whose vectors stay, the newest ones: they may go on, or their end was never heard."""

Float32Array = NDArray[np.float32]


class KeptVectors:
    """One vector for each update that may turn out to be the last counted.

    An update that was accepted need not count, since its attempt can be given up. So the vector
    that came with it takes the place of the older one only when the gateway says so.

    Args:
        folder: need not exist.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def save(self, attempt: Attempt, layout: Layout, vector: Float32Array) -> None:
        """Keep the vector that goes with an update; before the update is whole itself."""
        write_whole(self._path(attempt), encode(layout, vector))

    def load(
        self, attempt: Attempt, layout: Layout, *, counted: Callable[[Attempt], bool | None]
    ) -> Float32Array:
        """Return the vector of the last update before an attempt that counted; zeros without one.

        Newer ones that may still count are kept for the next time. Others of its run are deleted,
        and those of all but the newest other runs.

        Args:
            attempt: that begins now.
            layout: of the model.
            counted: asks whether the client's update of an attempt is part of a version; None
                where that is not known yet.
        """
        known = self._files().get(attempt.run_id, {})
        now = (attempt.round, attempt.attempt)
        last, kept = None, set[Path]()
        for path, one in sorted(known.items(), reverse=True):
            answer = counted(one) if (one.round, one.attempt) < now else False
            if answer is not False:
                kept.add(path)
            if answer:
                last = path
                break
        for path in known.keys() - kept:
            path.unlink()
        self._forget_old_runs(attempt.run_id)
        if last is None:
            return np.zeros(layout.size, np.float32)
        return decode(last.read_bytes(), layout)

    def drop(self, run_id: str) -> None:
        """Delete what is of a run that is over."""
        for path in self._files().get(run_id, {}):
            path.unlink()

    def _path(self, attempt: Attempt) -> Path:
        name = plain_name("run", attempt.run_id)
        return self._folder / f"{name}-{attempt.round:06d}-{attempt.attempt:02d}.safetensors"

    def _files(self) -> dict[str, dict[Path, Attempt]]:
        """Return run -> file -> the attempt that it was made in."""
        found: dict[str, dict[Path, Attempt]] = {}
        for path in self._folder.glob("*.safetensors"):
            run, round_, attempt = path.stem.rsplit("-", 2)
            found.setdefault(run, {})[path] = Attempt(run, int(round_), int(attempt))
        return found

    def _forget_old_runs(self, run_id: str) -> None:
        """Bound what is left of other runs."""
        others = [files for run, files in self._files().items() if run != run_id]
        others.sort(key=lambda files: max(path.stat().st_mtime_ns for path in files), reverse=True)
        for path in chain.from_iterable(others[RUNS_KEPT:]):
            path.unlink()
