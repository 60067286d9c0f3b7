"""The median of each column."""

import numpy as np

from rondo_aggregator.strategies.arrays import Block, Float64Array
from rondo_aggregator.strategies.kernels import compiled, sort_columns
from rondo_aggregator.strategies.sorting import pairs_for
from rondo_core.strategy_parameters.column_rules import Nothing

__all__ = ["median"]


def median(block: Block, weights: Float64Array, parameters: Nothing) -> Float64Array:  # noqa: ARG001 - as every column rule
    """Return the middle value of each column, or the mean of the middle two; nobody weighs more.

    Args:
        block: (clients, columns), at least one client; overwritten.
        weights: float64 (clients,); looked at by no order statistic.
        parameters: none.

    Returns:
        float64 (columns,), owned by the caller.

    Source: Yin et al., 2018, definition 1 (arXiv:1803.01498).

    >>> median(np.array([[3.0, 1.0], [1.0, 1.0], [9.0, 5.0], [2.0, 7.0]]), np.ones(4), Nothing())
    array([2.5, 3. ])
    """
    clients = block.shape[0]
    low, high = (clients - 1) // 2, clients // 2
    compiled(sort_columns)(block, pairs_for(clients, low, high + 1))
    middle: Float64Array = block[low].astype(np.float64)
    middle += (block[high] - middle) / 2
    return middle
