"""Updates that began from an older version count less."""

import numpy as np

from rondo_aggregator.strategies.cohort import Cohort, Mix
from rondo_core.errors import EmptyRound
from rondo_core.strategy_parameters.client_weights import Staleness

__all__ = ["discounted"]

SQUARE_ROOT = 0.5


def discounted(cohort: Cohort, parameters: Staleness) -> Mix:
    """Multiply each delta by s = (1 + staleness)^-a, and divide the sum by their NUMBER.

    Not by the sum of s: a buffer of old updates makes a small step. What is older than the bound is
    left out and not counted.

    Raises:
        EmptyRound: nothing is young enough.

    Source: Nguyen et al., 2022, Algorithm 1, lines 8 and 11 (FedBuff, arXiv:2106.06639), s of
    section 5: 1 / sqrt(1 + staleness).

    >>> mix = discounted(Cohort("ab", [9, 9], staleness=[0, 3]), Staleness())
    >>> mix.factors, mix.weights, mix.divisor
    ((1.0, 0.5), (1.0, 1.0), 2.0)
    """
    ages = cohort.staleness or [0] * len(cohort.clients)
    bound = parameters.max_staleness
    young = [float(bound is None or age <= bound) for age in ages]
    if not sum(young):
        raise EmptyRound(f"none of {len(ages)} updates has a staleness of at most {bound}")
    factors = [_discount(age, parameters.staleness_exponent) for age in ages]
    return Mix(tuple(factors), tuple(young), sum(young))


def _discount(age: int, exponent: float) -> float:
    """Return (1 + age)^-exponent; as a float32 where a library's ``pow`` would decide the bits."""
    if exponent == SQUARE_ROOT:
        return float(1 / np.sqrt(np.float64(1 + age)))
    return float(np.float32(float(1 + age) ** -exponent))
