"""Deltas longer than a fixed norm are scaled down to it."""

from rondo_aggregator.strategies.cohort import Cohort, Mix, mix_of
from rondo_core.strategy_parameters.client_weights import Clip

__all__ = ["clip_factors", "clipped"]


def clipped(cohort: Cohort, parameters: Clip) -> Mix:
    """Bound what one client can move.

    Source: McMahan et al., 2018, Algorithm 1, FlatClip (arXiv:1710.06963): D min(1, S / ||D||).

    >>> import numpy as np
    >>> cohort = Cohort(["a", "b"], [1, 1], products=np.diag([25.0, 0.25]))
    >>> clipped(cohort, Clip(clip_norm=1.0)).factors
    (0.2, 1.0)
    """
    equal = parameters.clip_weights == "equal"
    weights = [1.0 if equal else float(number) for number in cohort.examples]
    return mix_of(weights, clip_factors(cohort, parameters.clip_norm))


def clip_factors(cohort: Cohort, norm: float) -> list[float]:
    """Return min(1, C / ||D_k||) of each client; a delta of zeros stays as it is."""
    return [norm / length if length > norm else 1.0 for length in cohort.norms]
