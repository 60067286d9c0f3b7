"""Bulyan's selection: Krum again and again, each time without those that it chose."""

from rondo_aggregator.strategies.client_weights.krum import best, squared_distances
from rondo_aggregator.strategies.cohort import Cohort, Mix, as_products, equal_mix
from rondo_core.errors import StrategyInvalid
from rondo_core.strategy_parameters.client_weights import Bulyan

__all__ = ["bulyan_selection"]


def bulyan_selection(cohort: Cohort, parameters: Bulyan) -> Mix:
    """Choose n - 2 f deltas by repeated Krum with removal.

    Each pass scores by the nearest n' - f - 2 of the n' that are left, and at least by one. Two
    that are each other's only neighbour tie; the first in the manifest's order is chosen.

    Raises:
        StrategyInvalid: fewer than 4 f + 3 updates.

    Source: El Mhamdi et al., 2018, section 4, step 1 (arXiv:1802.07927).

    >>> import numpy as np
    >>> line = np.array([[0.0], [1.0], [2.0], [3.0], [4.0], [5.0], [90.0]])
    >>> cohort = Cohort("abcdefg", [1] * 7, products=line @ line.T)
    >>> bulyan_selection(cohort, Bulyan(attackers=1)).weights
    (1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0)
    """
    clients, attackers = len(cohort.clients), parameters.attackers
    if refusal := parameters.refusal(clients):
        raise StrategyInvalid(refusal)
    distances = squared_distances(as_products(cohort)[:clients, :clients])
    remaining, chosen = list(range(clients)), list[int]()
    while len(chosen) < parameters.counting(clients):
        first, *_ = best(distances, remaining, max(len(remaining) - attackers - 2, 1))
        chosen.append(first)
        remaining.remove(first)
    return equal_mix(chosen, clients)
