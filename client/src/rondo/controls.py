"""SCAFFOLD's control variates, as a client has them.

All are in units of a step: the paper's c and c_k times the local learning rate.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rondo.kept_vectors import KeptVectors

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


class Controls(KeptVectors):
    """The client's own variates, and beside them the newest copy of the server's.

    Args:
        folder: need not exist.

    Attributes:
        server: the folder of that copy.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.server = folder / "server"

    def drop(self, run_id: str) -> None:
        """Delete what is of a run that is over; another run fetches the copy of its c again."""
        super().drop(run_id)
        shutil.rmtree(self.server, ignore_errors=True)
