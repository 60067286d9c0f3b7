"""FedYogi: as FedAdam, but the second moment forgets no faster than it learns."""

from collections.abc import Sequence

import numpy as np

from rondo_aggregator.strategies.arrays import Float64Array
from rondo_aggregator.strategies.server_optimizers.adaptive import (
    adaptive_step,
    corrected_rate,
    first_moment,
)
from rondo_core.layout import Float32Array
from rondo_core.strategy_parameters.server_optimizers import Yogi

__all__ = ["yogi"]


def yogi(
    delta: Float64Array, slots: Sequence[Float32Array], parameters: Yogi, step: int
) -> tuple[Float64Array, ...]:
    """Return eta m / (sqrt(v) + tau) with v <- v - (1 - beta2) D^2 sign(v - D^2), and m and v.

    Args:
        delta: float64 (columns,), D.
        slots: m and v, float32 (columns,); v begins at tau squared, or with correction at 0.
        parameters: eta, beta1, beta2, tau.
        step: which of the run's, from 1.

    Source: Reddi et al., 2021, Algorithm 2 (arXiv:2003.00295).

    >>> slots = [np.float32([0]), np.float32([4])]
    >>> yogi(np.array([1.0]), slots, Yogi(beta2=0.75, tau=1.0), 1)[2]
    array([3.75])
    """
    moment = first_moment(delta, slots[0], parameters.beta1)
    before, square = slots[1].astype(np.float64), delta * delta
    second = before - (1 - parameters.beta2) * square * np.sign(before - square)
    rate = corrected_rate(parameters, step)
    return adaptive_step(moment, second, parameters, rate), moment, second
