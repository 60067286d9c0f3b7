"""The weighted mean of each column."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rondo_aggregator.strategies.arrays import Float64Array
from rondo_aggregator.strategies.encoded_sums import add_bytes, add_halves, add_sparse
from rondo_aggregator.strategies.kernels import add_four, add_one, compiled
from rondo_core.encodings import DeltaColumns, Halves, ScaledBytes, Sparse
from rondo_core.layout import Float32Array

__all__ = ["add_weighted"]

_ADDING: Mapping[type[Any], Callable[[Float64Array, Sequence[Any], Float64Array], None]] = {
    Halves: add_halves,
    ScaledBytes: add_bytes,
    Sparse: add_sparse,
}
_BLOCK_COLUMNS = 65_536
"""512 KiB of total stay in the second-level cache while all deltas pass by it."""


def add_weighted(
    total: Float64Array, deltas: Sequence[DeltaColumns], coefficients: Float64Array
) -> None:
    """Add ``coefficient * delta`` of each client to the total, in the given order, in float64.

    A column is never looked at together with another one, and a client never with a later one, so
    that any split into shards, and into groups of clients, gives the same bits.

    Args:
        total: float64 (columns,), changed; the mean is this by the divisor.
        deltas: the columns of each client, all in one encoding; only read. They are decoded where
            they are added, block by block.
        coefficients: float64 (clients,), in the same order.

    Source: McMahan et al., 2017, Algorithm 1 (arXiv:1602.05629), on deltas instead of weights.

    >>> import numpy as np
    >>> total = np.zeros(2)
    >>> add_weighted(total, [np.float32([4, 0]), np.float32([0, 8])], np.array([30.0, 10.0]))
    >>> total
    array([120.,  80.])
    """
    _ADDING.get(type(deltas[0]), _add_floats)(total, deltas, coefficients)


def _add_floats(
    total: Float64Array, deltas: Sequence[Float32Array], coefficients: Float64Array
) -> None:
    one, four = compiled(add_one), compiled(add_four)
    fours = len(deltas) - len(deltas) % 4
    for start in range(0, total.size, _BLOCK_COLUMNS):
        block = slice(start, start + _BLOCK_COLUMNS)
        part = total[block]
        for k in range(0, fours, 4):
            first, second, third, fourth = (delta[block] for delta in deltas[k : k + 4])
            four(part, coefficients[k : k + 4], (first, second, third, fourth))
        for k in range(fours, len(deltas)):
            one(part, coefficients[k], deltas[k][block])
