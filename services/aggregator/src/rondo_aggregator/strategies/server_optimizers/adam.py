"""FedAdam: columns that moved much of late move less."""

from collections.abc import Sequence

import numpy as np

from rondo_aggregator.strategies.arrays import Float64Array
from rondo_aggregator.strategies.server_optimizers.adaptive import (
    adaptive_step,
    corrected_rate,
    first_moment,
)
from rondo_core.layout import Float32Array
from rondo_core.strategy_parameters.server_optimizers import Adam

__all__ = ["adam"]


def adam(
    delta: Float64Array, slots: Sequence[Float32Array], parameters: Adam, step: int
) -> tuple[Float64Array, ...]:
    """Return eta m / (sqrt(v) + tau) with v <- beta2 v + (1 - beta2) D^2, and m and v.

    The paper corrects no bias. With ``bias_correction`` it is what the authors ran: Keras' Adam.

    Args:
        delta: float64 (columns,), D.
        slots: m and v, float32 (columns,); v begins at tau squared, or with correction at 0.
        parameters: eta, beta1, beta2, tau.
        step: which of the run's, from 1.

    Source: Reddi et al., 2021, Algorithm 2 (arXiv:2003.00295).

    >>> slots = [np.float32([0]), np.float32([1e-6])]
    >>> adam(np.array([1.0]), slots, Adam(), 1)[0].round(4)
    array([0.099])
    """
    moment = first_moment(delta, slots[0], parameters.beta1)
    second = parameters.beta2 * slots[1].astype(np.float64) + (1 - parameters.beta2) * delta * delta
    rate = corrected_rate(parameters, step)
    return adaptive_step(moment, second, parameters, rate), moment, second
