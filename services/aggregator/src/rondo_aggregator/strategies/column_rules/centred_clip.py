"""Centred clipping: the last round's delta, moved by what the new ones differ from it, clipped."""

import math

import numpy as np

from rondo_aggregator.strategies.cohort import Cohort, Mix, as_products
from rondo_aggregator.strategies.distances import distances_from
from rondo_core.strategy_parameters.column_rules import CentredClip

__all__ = ["centred_clip"]


def centred_clip(cohort: Cohort, mix: Mix, parameters: CentredClip) -> Mix:
    """Move the centre L times: v <- v + mean of (x_k - v) min(1, tau / ||x_k - v||).

    v begins at the combined delta of the round before, which is kept beside the version, and at
    zero in the first round. It stays in the span of that and the deltas, so that the inner products
    are enough.

    Args:
        cohort: with the products of all pairs; a centre is their last row.
        mix: which clients count, and how much against each other. Its factors are all 1: weights
            that scale the deltas do not meet this rule (`rondo_core.strategies.read_strategy`).
        parameters: tau and L.

    Returns:
        The coefficients of the deltas and of the centre; the divisor is 1.

    Source: Karimireddy et al., 2021, section 4, equation CC (arXiv:2012.10333).

    >>> line = np.array([[1.0], [9.0]])
    >>> cohort = Cohort("ab", [1, 1], products=line @ line.T)
    >>> centred_clip(cohort, Mix((1.0, 1.0), (1.0, 1.0), 2.0), CentredClip(radius=3.0)).weights
    (0.5, 0.16666666666666666)
    """
    clients, products = len(cohort.clients), as_products(cohort)
    shares = np.array(mix.weights) / mix.divisor
    point = np.zeros(len(products))
    point[clients:] = 1.0
    for _ in range(parameters.clip_iterations):
        far = np.maximum(distances_from(point, products)[:clients], parameters.radius)
        moves = shares * (parameters.radius / far)
        point *= 1 - math.fsum(moves.tolist())
        point[:clients] += moves
    centre = float(point[clients]) if len(products) > clients else 0.0
    return Mix(mix.factors, tuple(point[:clients].tolist()), 1.0, centre, mix.scalars)
