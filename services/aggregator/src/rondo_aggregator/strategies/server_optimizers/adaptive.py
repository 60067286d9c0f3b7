"""What FedAdagrad, FedAdam and FedYogi share: a first moment, and a step scaled by column."""

import math

import numpy as np

from rondo_aggregator.strategies.arrays import Float64Array
from rondo_core.layout import Float32Array
from rondo_core.strategy_parameters.server_optimizers import Adagrad, Adam, Yogi

__all__ = ["adaptive_step", "corrected_rate", "first_moment"]


def first_moment(delta: Float64Array, moment: Float32Array, beta1: float) -> Float64Array:
    """Return m <- beta1 m + (1 - beta1) D."""
    return beta1 * moment.astype(np.float64) + (1 - beta1) * delta


def adaptive_step(
    moment: Float64Array, second: Float64Array, parameters: Adagrad | Adam | Yogi, rate: float
) -> Float64Array:
    """Return rate m / (sqrt(v) + tau)."""
    return rate * moment / (np.sqrt(second) + parameters.tau)


def corrected_rate(parameters: Adam | Yogi, step: int) -> float:
    """Return eta, with bias correction times sqrt(1 - beta2^t) / (1 - beta1^t), t from 1.

    The powers are repeated products: no library's ``pow`` decides the bits.

    Source: Kingma and Ba, 2015, section 2, last paragraph (arXiv:1412.6980), as Keras' Adam does.

    >>> round(corrected_rate(Adam(server_learning_rate=0.1, bias_correction=True), 1), 12)
    0.1
    """
    if not parameters.bias_correction:
        return parameters.server_learning_rate
    first = 1 - math.prod([parameters.beta1] * step)
    second = 1 - math.prod([parameters.beta2] * step)
    return parameters.server_learning_rate * math.sqrt(second) / first
