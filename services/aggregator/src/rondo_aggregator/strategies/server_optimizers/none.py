"""No server optimizer: the combined delta is the step."""

import numpy as np

from rondo_aggregator.strategies.arrays import Float64Array
from rondo_core.layout import Float32Array

__all__ = ["add_delta"]


def add_delta(base: Float32Array, delta: Float64Array) -> Float32Array:
    """Add the combined delta to the base in float64, then round once to float32.

    Args:
        base: float32 (columns,); only read.
        delta: float64 (columns,).

    Returns:
        float32 (columns,), owned by the caller; infinite where the sum is beyond float32, which
        the caller must refuse.

    Source: McMahan et al., 2017, Algorithm 1 (arXiv:1602.05629): x + sum of n_k (y_k - x) / n.

    >>> add_delta(np.float32([1, 2]), np.array([0.5, -2.0]))
    array([1.5, 0. ], dtype=float32)
    """
    with np.errstate(over="ignore"):
        return (base + delta).astype(np.float32)
