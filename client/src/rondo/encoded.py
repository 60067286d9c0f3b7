"""A client's delta as its run wants it written, and what that leaves for the next round."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rondo_core.encodings import UpdateForm

__all__ = ["Encoded", "encoded"]

Float32Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Encoded:
    """An update, written.

    Attributes:
        data: the file.
        delta: what it stands for, float32 (size,): what the federation counts.
        wanted: what the client would have it stand for.
    """

    data: bytes
    delta: Float32Array
    wanted: Float32Array

    @property
    def left(self) -> Float32Array:
        """What the update leaves out, float32 (size,)."""
        with np.errstate(invalid="ignore"):
            return self.wanted - self.delta


def encoded(
    form: UpdateForm,
    delta: Float32Array,
    seed: tuple[int, ...],
    before: Float32Array | None = None,
) -> Encoded:
    """Write a delta, and with it what earlier updates left out (error feedback).

    Args:
        form: what the run's updates look like.
        delta: float32 (size,), as it was learned; what is not finite gives a file that is refused.
        seed: of stochastic rounding; the same seed and delta give the same bytes.
        before: what the last update that counted left out; None where that is nothing.

    Source: Stich et al., 2018, Algorithm 1 (arXiv:1809.07599); Karimireddy et al., 2019, Algorithm
    2 (arXiv:1901.09847).

    >>> from rondo_core.encodings import form_of
    >>> from rondo_core.layout import Layout, TensorSpec
    >>> form = form_of(Layout((TensorSpec("a/b", (2,)),)), "top-k:0.5")
    >>> first = encoded(form, np.float32([3, 2]), (1,))
    >>> second = encoded(form, np.float32([1, 2]), (2,), first.left)
    >>> first.delta, second.delta, second.left
    (array([3., 0.], dtype=float32), array([0., 4.], dtype=float32), array([1., 0.], dtype=float32))
    """
    with np.errstate(over="ignore", invalid="ignore"):
        wanted = delta if before is None else delta + before
        data = form.encode(wanted, np.random.default_rng(seed))
        return Encoded(data, form.decode(data), wanted)
