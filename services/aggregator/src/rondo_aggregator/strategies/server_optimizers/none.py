"""No server optimizer: the combined delta is the step."""

from collections.abc import Sequence

from rondo_aggregator.strategies.arrays import Float64Array
from rondo_core.layout import Float32Array
from rondo_core.strategy_parameters.server_optimizers import Step

__all__ = ["add_delta"]


def add_delta(
    delta: Float64Array,
    slots: Sequence[Float32Array],  # noqa: ARG001 - as every server optimizer
    parameters: Step,
    step: int,  # noqa: ARG001 - as every server optimizer
) -> tuple[Float64Array, ...]:
    """Return eta times the delta, and no state.

    Args:
        delta: float64 (columns,), the combined delta.
        slots: none.
        parameters: eta.
        step: which of the run's, from 1.

    Returns:
        What is to be added to the base, in float64, and then each slot's new value.

    Source: McMahan et al., 2017, Algorithm 1 (arXiv:1602.05629): x + sum of n_k (y_k - x) / n.

    >>> import numpy as np
    >>> add_delta(np.array([0.5, -2.0]), [], Step(server_learning_rate=2.0), 1)
    (array([ 1., -4.]),)
    """
    return (parameters.server_learning_rate * delta,)
