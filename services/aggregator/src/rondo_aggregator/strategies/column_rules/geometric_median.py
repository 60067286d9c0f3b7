"""The geometric median of the deltas, as a weighted mean whose weights are found by iteration."""

import math

import numpy as np

from rondo_aggregator.strategies.cohort import Cohort, Mix, as_products, mix_of
from rondo_aggregator.strategies.distances import distances_from, scaled_products
from rondo_core.strategy_parameters.column_rules import GeometricMedian

__all__ = ["geometric_median"]


def geometric_median(cohort: Cohort, mix: Mix, parameters: GeometricMedian) -> Mix:
    """Reweigh the clients by smoothed Weiszfeld steps: beta_k = alpha_k / max(nu, ||z - x_k||).

    Every z is a weighted mean of the deltas, so that its distances follow from the inner products:
    the whole iteration takes one pass over the bytes.

    Args:
        cohort: with the products of all pairs.
        mix: alpha, and factors by which the deltas are scaled first.
        parameters: nu, and when to end.

    Returns:
        The weights of the last step.

    Source: Pillutla et al., 2022, Algorithm 2 (RFA, arXiv:1912.13445).

    >>> line = np.array([[0.0], [1.0], [50.0]])
    >>> start = mix_of([1.0, 1.0, 1.0])
    >>> mix = geometric_median(Cohort("abc", [1] * 3, products=line @ line.T), start,
    ...     GeometricMedian())
    >>> round(float(mix.coefficients @ line[:, 0]) / mix.divisor, 4)
    1.0
    """
    clients = len(cohort.clients)
    products = scaled_products(as_products(cohort)[:clients, :clients], mix.factors)
    alpha = np.array(mix.weights)
    weights, before = alpha, math.inf
    for _ in range(parameters.iterations):
        distances = distances_from(weights / math.fsum(weights), products)
        cost = math.fsum((alpha * distances).tolist())
        if before - cost <= parameters.tolerance * cost:
            break
        before = cost
        weights = alpha / np.maximum(distances, parameters.smoothing)
    return mix_of(weights.tolist(), mix.factors, mix.scalars)
