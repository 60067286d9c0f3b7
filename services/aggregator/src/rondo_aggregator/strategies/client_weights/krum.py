"""Krum and multi-Krum: trust the deltas that have close neighbours."""

import math
from collections.abc import Sequence

import numpy as np

from rondo_aggregator.strategies.arrays import Float64Array
from rondo_aggregator.strategies.cohort import Cohort, Mix, as_products, equal_mix
from rondo_core.errors import StrategyInvalid
from rondo_core.strategy_parameters.client_weights import Krum, MultiKrum

__all__ = ["best", "krum", "multi_krum", "scores", "squared_distances"]


def krum(cohort: Cohort, parameters: Krum) -> Mix:
    """Take the one delta with the best score.

    Raises:
        StrategyInvalid: not more than 2 f + 2 updates.

    Source: Blanchard et al., 2017, section 4 (arXiv:1703.02757).

    >>> line = np.array([[0.0], [1.0], [2.0], [3.0], [90.0]])
    >>> krum(Cohort("abcde", [1] * 5, products=line @ line.T), Krum(attackers=1)).weights
    (0.0, 1.0, 0.0, 0.0, 0.0)
    """
    return equal_mix(_best_of_all(cohort, parameters)[:1], len(cohort.clients))


def multi_krum(cohort: Cohort, parameters: MultiKrum) -> Mix:
    """Take the plain mean of the m deltas with the best scores.

    Raises:
        StrategyInvalid: not more than 2 f + 2 updates, or m is more than there are.

    Source: Blanchard et al., 2017, section 4 and the remark on multi-Krum (arXiv:1703.02757).

    >>> line = np.array([[0.0], [1.0], [2.0], [3.0], [90.0]])
    >>> cohort = Cohort("abcde", [1] * 5, products=line @ line.T)
    >>> multi_krum(cohort, MultiKrum(attackers=1)).weights
    (0.0, 1.0, 1.0, 0.0, 0.0)
    """
    clients = len(cohort.clients)
    order = _best_of_all(cohort, parameters)
    return equal_mix(order[: parameters.counting(clients)], clients)


def squared_distances(products: Float64Array) -> Float64Array:
    """Return float64 (clients, clients): ||x||^2 + ||y||^2 - 2 <x, y>, never below 0."""
    squares = np.diag(products)
    return np.maximum(squares[:, None] + squares[None, :] - 2 * products, 0.0)


def scores(distances: Float64Array, remaining: Sequence[int], neighbours: int) -> list[float]:
    """Return for each remaining client the sum of the distances to its nearest neighbours."""
    near = distances[np.ix_(remaining, remaining)]
    ascending = (sorted(np.delete(row, index)) for index, row in enumerate(near))
    return [math.fsum(row[:neighbours]) for row in ascending]


def best(distances: Float64Array, remaining: Sequence[int], neighbours: int) -> list[int]:
    """Return the remaining clients by ascending score; of equal ones the first comes first."""
    found = scores(distances, remaining, neighbours)
    return [client for _, client in sorted(zip(found, remaining, strict=True))]


def _best_of_all(cohort: Cohort, parameters: Krum | MultiKrum) -> list[int]:
    clients = len(cohort.clients)
    if refusal := parameters.refusal(clients):
        raise StrategyInvalid(refusal)
    distances = squared_distances(as_products(cohort)[:clients, :clients])
    return best(distances, range(clients), clients - parameters.attackers - 2)
