"""Distances from a point in the span of the deltas, by their inner products alone.

With them a rule that iterates over whole models, such as Weiszfeld's, needs one pass over the
bytes. Sums are exactly rounded (`math.fsum`), so that no library's order of summing shows.
"""

import math

import numpy as np

from rondo_aggregator.strategies.arrays import Float64Array

__all__ = ["distances_from", "scaled_products"]


def distances_from(point: Float64Array, products: Float64Array) -> list[float]:
    """Return ||x_k - sum of point_j x_j|| of each vector, from <x_i, x_j>.

    Args:
        point: float64 (vectors,), the point's coordinates.
        products: float64 (vectors, vectors).

    >>> distances_from(np.array([0.5, 0.5]), np.diag([4.0, 4.0]))
    [1.4142135623730951, 1.4142135623730951]
    """
    along = np.array([math.fsum((row * point).tolist()) for row in products])
    square = math.fsum((along * point).tolist())
    squares = np.diag(products) - 2 * along + square
    return [math.sqrt(max(float(value), 0.0)) for value in squares]


def scaled_products(products: Float64Array, factors: tuple[float, ...]) -> Float64Array:
    """Return the inner products of the deltas as the factors scale them."""
    scale = np.array(factors)
    scaled: Float64Array = products * scale[:, None] * scale[None, :]
    return scaled
