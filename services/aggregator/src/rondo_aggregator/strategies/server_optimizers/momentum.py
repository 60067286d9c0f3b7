"""Server momentum: steps in the same direction add up."""

from collections.abc import Sequence

from rondo_aggregator.strategies.arrays import Float64Array
from rondo_core.layout import Float32Array
from rondo_core.strategy_parameters.server_optimizers import Momentum

__all__ = ["momentum"]


def momentum(
    delta: Float64Array,
    slots: Sequence[Float32Array],
    parameters: Momentum,
    step: int,  # noqa: ARG001 - as every server optimizer
) -> tuple[Float64Array, ...]:
    """Return eta times v <- beta v + D, or with Nesterov eta times (D + beta v).

    Args:
        delta: float64 (columns,), D.
        slots: v, float32 (columns,), zeros in the first round.
        parameters: eta, beta, and whether to look ahead.
        step: which of the run's, from 1.

    Returns:
        What is to be added to the base, and v.

    Source: Hsu et al., 2019, section 4.2 (FedAvgM, arXiv:1909.06335); plain momentum as in Reddi et
    al., 2021 (arXiv:2003.00295).

    >>> import numpy as np
    >>> momentum(np.array([1.0]), [np.float32([2])], Momentum(momentum=0.5), 2)
    (array([2.]), array([2.]))
    """
    velocity = parameters.momentum * slots[0].astype(delta.dtype) + delta
    ahead = delta + parameters.momentum * velocity if parameters.nesterov else velocity
    return parameters.server_learning_rate * ahead, velocity
