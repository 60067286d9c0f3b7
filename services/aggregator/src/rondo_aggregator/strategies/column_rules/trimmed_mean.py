"""The mean of each column without its extremes."""

import numpy as np

from rondo_aggregator.strategies.arrays import Block, Float64Array
from rondo_aggregator.strategies.kernels import add_rows, compiled, sort_columns
from rondo_aggregator.strategies.sorting import pairs_for
from rondo_core.errors import EmptyRound
from rondo_core.strategy_parameters.column_rules import TrimmedMean

__all__ = ["trimmed_mean"]


def trimmed_mean(block: Block, weights: Float64Array, parameters: TrimmedMean) -> Float64Array:  # noqa: ARG001 - as every column rule
    """Cut the floor(beta n) largest and smallest values of each column; average the rest plainly.

    Args:
        block: (clients, columns); overwritten.
        weights: float64 (clients,); looked at by no order statistic.
        parameters: the share to cut.

    Returns:
        float64 (columns,), owned by the caller; sums run from the smallest value to the largest.

    Raises:
        EmptyRound: nobody is left.

    Source: Yin et al., 2018, definition 2 (arXiv:1803.01498).

    >>> trimmed_mean(np.array([[1.0], [2.0], [4.0], [90.0]]), np.ones(4), TrimmedMean(trim=0.25))
    array([3.])
    """
    clients = block.shape[0]
    cut = parameters.cut(clients)
    if refusal := parameters.refusal(clients):
        raise EmptyRound(refusal)
    compiled(sort_columns)(block, pairs_for(clients, cut, clients - cut))
    total = np.zeros(block.shape[1], np.float64)
    compiled(add_rows)(block[cut : clients - cut], total)
    total /= clients - 2 * cut
    return total
