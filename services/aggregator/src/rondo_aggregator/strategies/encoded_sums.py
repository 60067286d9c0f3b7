"""Weighted sums of encoded deltas: decoded in registers, on the way from the file to the total.

Each gives the bits of the same sum over the decoded float32 columns.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from rondo_aggregator.strategies.arrays import Float64Array
from rondo_aggregator.strategies.kernels import add_four_bytes, add_four_halves, compiled
from rondo_core.encodings import Halves, ScaledBytes, Sparse

__all__ = ["add_bytes", "add_halves", "add_sparse"]

_BLOCK_COLUMNS = 65_536
"""512 KiB of total stay in the second-level cache while all deltas pass by it."""


def add_halves(total: Float64Array, deltas: Sequence[Halves], coefficients: Float64Array) -> None:
    """Add weighted float16 or bfloat16 deltas to the total, in the given order.

    Args:
        total: float64 (columns,), changed.
        deltas: of the same columns.
        coefficients: float64 (clients,).
    """
    four, kind = compiled(add_four_halves), deltas[0]
    for start in range(0, total.size, _BLOCK_COLUMNS):
        block = slice(start, start + _BLOCK_COLUMNS)
        for clients, weights in _fours(coefficients):
            first, second, third, fourth = (deltas[k].codes[block] for k in clients)
            codes = (first, second, third, fourth)
            four(total[block], weights, codes, kind.shift, kind.factor)


def add_bytes(
    total: Float64Array, deltas: Sequence[ScaledBytes], coefficients: Float64Array
) -> None:
    """Add weighted int8 deltas to the total; otherwise as `add_halves`."""
    four = compiled(add_four_bytes)
    for start in range(0, total.size, _BLOCK_COLUMNS):
        stop = min(start + _BLOCK_COLUMNS, total.size)
        for first, last, tensor in deltas[0].runs(start, stop):
            for clients, weights in _fours(coefficients):
                a, b, c, d = (deltas[k].codes[first:last] for k in clients)
                scales = np.array([deltas[k].scales[tensor] for k in clients])
                four(total[first:last], weights, (a, b, c, d), scales)


def add_sparse(total: Float64Array, deltas: Sequence[Sparse], coefficients: Float64Array) -> None:
    """Add what was sent of weighted top-k deltas to the total; otherwise as `add_halves`."""
    for delta, coefficient in zip(deltas, coefficients, strict=True):
        places, values = delta.entries(0, delta.size)
        total[places] += coefficient * values.astype(np.float64)


def _fours(coefficients: Float64Array) -> Iterator[tuple[list[int], Float64Array]]:
    """Yield four clients at a time; the last of them again, counting nothing, to make it four."""
    for start in range(0, coefficients.size, 4):
        clients = [min(k, coefficients.size - 1) for k in range(start, start + 4)]
        weights = np.zeros(4)
        weights[: coefficients.size - start] = coefficients[start : start + 4]
        yield clients, weights
