"""The weighted mean of each column."""

import math
from collections.abc import Sequence

import numpy as np

from rondo_aggregator.strategies.arrays import Float64Array
from rondo_core.layout import Float32Array

__all__ = ["weighted_mean"]


def weighted_mean(deltas: Sequence[Float32Array], weights: Float64Array) -> Float64Array:
    """Average the clients' deltas, column by column.

    Adds ``weight * delta`` in the given order and divides once at the end, all in float64; a column
    is never looked at together with another one, so that any split into shards gives the same bits.

    Args:
        deltas: one float32 (columns,) array a client; only read.
        weights: float64 (clients,) with a positive sum, in the same order.

    Returns:
        float64 (columns,), owned by the caller.

    Source: McMahan et al., 2017, Algorithm 1 (arXiv:1602.05629), on deltas instead of weights.

    >>> weighted_mean([np.float32([4, 0]), np.float32([0, 8])], np.array([30.0, 10.0]))
    array([3., 2.])
    """
    total = np.zeros(deltas[0].shape, np.float64)
    scratch = np.empty_like(total)
    for delta, weight in zip(deltas, weights, strict=True):
        np.multiply(delta, weight, out=scratch)
        total += scratch
    total /= math.fsum(weights)
    return total
