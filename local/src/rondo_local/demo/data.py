"""Who owns which digits: scikit-learn's 1,797 handwritten scans, parted among four owners.

Source: E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI (1998), as
shipped by scikit-learn.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits

__all__ = ["OWNED_CLASSES", "Digits", "Labelled", "load", "part"]

OWNED_CLASSES = {
    "ambulance": (0, 1, 2, 3, 4),
    "bank": (5, 6, 7, 8, 9),
    "clinic": (0, 2, 4, 6, 8),
    "dentist": (1, 3, 5, 7, 9),
}
"""Owner -> the five classes that it has ever seen; every class is at exactly two owners."""

HOLDOUT_SHARE = 0.2


@dataclass(frozen=True, slots=True)
class Labelled:
    """Pictures and what they show.

    Attributes:
        x: float32, shape (n, 8, 8, 1), ink from 0 to 16 as scanned.
        y: int64, shape (n,), the digit.
    """

    x: NDArray[np.float32]
    y: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Digits:
    """The holdout that nobody trains on, and each owner's own part of the rest."""

    holdout: Labelled
    owners: dict[str, Labelled]

    def pooled(self) -> Labelled:
        """Return what one would train on if all owners handed over their data."""
        parts = list(self.owners.values())
        return Labelled(np.concatenate([p.x for p in parts]), np.concatenate([p.y for p in parts]))


def load(*, seed: int = 0) -> Digits:
    """Load the scans and part them; the same seed gives the same parts."""
    x, y = load_digits(return_X_y=True)
    pictures = x.astype(np.float32).reshape(-1, 8, 8, 1)
    return part(pictures, y.astype(np.int64), rng=np.random.default_rng(seed))


def part(x: NDArray[np.float32], y: NDArray[np.int64], *, rng: np.random.Generator) -> Digits:
    """Put a fifth of each class into the holdout, and halve the rest between the class's owners.

    Args:
        x: pictures, first axis n.
        y: classes 0-9, shape (n,).
        rng: shuffles within each class.

    Returns:
        Copies; every picture is in exactly one part.
    """
    held: list[NDArray[np.int64]] = []
    owned: dict[str, list[NDArray[np.int64]]] = {owner: [] for owner in OWNED_CLASSES}
    for digit in range(10):
        rows = rng.permutation(np.flatnonzero(y == digit))
        cut = round(len(rows) * HOLDOUT_SHARE)
        held.append(rows[:cut])
        owners = [owner for owner, classes in OWNED_CLASSES.items() if digit in classes]
        for owner, rows_of_owner in zip(owners, np.array_split(rows[cut:], 2), strict=True):
            owned[owner].append(rows_of_owner)
    return Digits(
        holdout=_take(x, y, held),
        owners={owner: _take(x, y, rows) for owner, rows in owned.items()},
    )


def _take(x: NDArray[np.float32], y: NDArray[np.int64], rows: list[NDArray[np.int64]]) -> Labelled:
    chosen = np.concatenate(rows)
    return Labelled(x[chosen], y[chosen])
