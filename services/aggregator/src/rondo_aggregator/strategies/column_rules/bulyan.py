"""Bulyan's last step: the mean of the values nearest the median."""

import numpy as np

from rondo_aggregator.strategies.arrays import Block, Float64Array
from rondo_aggregator.strategies.kernels import compiled, mean_near_median, sort_columns
from rondo_aggregator.strategies.sorting import pairs_for
from rondo_core.errors import StrategyInvalid
from rondo_core.strategy_parameters.column_rules import NearMedian

__all__ = ["near_median"]


def near_median(block: Block, weights: Float64Array, parameters: NearMedian) -> Float64Array:  # noqa: ARG001 - as every column rule
    """Average, in each column, the theta - 2 f values nearest the median of the theta chosen ones.

    Args:
        block: (theta, columns), the deltas that the selection chose; overwritten.
        weights: float64 (theta,); looked at by no order statistic.
        parameters: f.

    Returns:
        float64 (columns,), owned by the caller.

    Raises:
        StrategyInvalid: theta is at most 2 f.

    Source: El Mhamdi et al., 2018, section 4, step 2 (arXiv:1802.07927).

    >>> near_median(np.array([[1.0], [2.0], [4.0], [90.0]]), np.ones(4), NearMedian(attackers=1))
    array([3.])
    """
    chosen = block.shape[0]
    if refusal := parameters.refusal(chosen):
        raise StrategyInvalid(refusal)
    near = chosen - 2 * parameters.attackers
    compiled(sort_columns)(block, pairs_for(chosen, 0, chosen))
    means = np.empty(block.shape[1], np.float64)
    compiled(mean_near_median)(block, near, means)
    return means
