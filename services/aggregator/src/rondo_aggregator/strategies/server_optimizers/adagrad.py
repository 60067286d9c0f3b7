"""FedAdagrad: columns that moved much move less."""

from collections.abc import Sequence

import numpy as np

from rondo_aggregator.strategies.arrays import Float64Array
from rondo_aggregator.strategies.server_optimizers.adaptive import adaptive_step, first_moment
from rondo_core.layout import Float32Array
from rondo_core.strategy_parameters.server_optimizers import Adagrad

__all__ = ["adagrad"]


def adagrad(
    delta: Float64Array,
    slots: Sequence[Float32Array],
    parameters: Adagrad,
    step: int,  # noqa: ARG001 - as every server optimizer
) -> tuple[Float64Array, ...]:
    """Return eta m / (sqrt(v) + tau) with v <- v + D^2, and m and v.

    Args:
        delta: float64 (columns,), D.
        slots: m and v, float32 (columns,); v begins at tau squared.
        parameters: eta, beta1, tau.
        step: which of the run's, from 1.

    Source: Reddi et al., 2021, Algorithm 2 (arXiv:2003.00295).

    >>> slots = [np.float32([0]), np.float32([9])]
    >>> adagrad(np.array([4.0]), slots, Adagrad(server_learning_rate=1.0, tau=3.0), 1)
    (array([0.5]), array([4.]), array([25.]))
    """
    moment = first_moment(delta, slots[0], parameters.beta1)
    second = slots[1].astype(np.float64) + delta * delta
    rate = parameters.server_learning_rate
    return adaptive_step(moment, second, parameters, rate), moment, second
