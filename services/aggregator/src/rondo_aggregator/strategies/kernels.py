"""The loops that NumPy has no fast word for, compiled once per process.

Each is plain Python over arrays, and gives the same bits uncompiled: no sum is reordered, because
numba keeps IEEE 754 semantics unless it is told otherwise. The compiler is loaded at the first use,
so that a program that never combines does not pay for it.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from rondo_aggregator.strategies.arrays import Block, Float64Array
from rondo_core.layout import Float32Array

__all__ = [
    "add_four",
    "add_four_bytes",
    "add_four_halves",
    "add_one",
    "add_products",
    "add_products_with",
    "add_rows",
    "add_squares",
    "compiled",
    "mean_near_median",
    "sort_columns",
    "warm",
]

Kernel = TypeVar("Kernel", bound=Callable[..., Any])
Codes = tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]
"""Of four clients, as they were sent, (columns,) each."""


def add_one(total: Float64Array, weight: np.float64, delta: Float32Array) -> None:
    """Add a weighted delta to the float64 total, both (columns,)."""
    for column in range(total.size):
        total[column] += weight * delta[column]


def add_four(
    total: Float64Array,
    weights: Float64Array,
    deltas: tuple[Float32Array, Float32Array, Float32Array, Float32Array],
) -> None:
    """Add four weighted deltas, in each column one after the other: the bits of `add_one`.

    The total is loaded and stored once for four clients, which is what makes it as fast as reading.
    """
    first, second, third, fourth = deltas
    a, b, c, d = weights[0], weights[1], weights[2], weights[3]
    for column in range(total.size):
        total[column] = (
            ((total[column] + a * first[column]) + b * second[column]) + c * third[column]
        ) + d * fourth[column]


def add_four_halves(
    total: Float64Array,
    weights: Float64Array,
    codes: Codes,
    shift: np.uint32,
    factor: np.float32,
) -> None:
    """Decode four weighted deltas, as ``Halves`` does, and add them; otherwise as `add_four`."""
    first, second, third, fourth = codes
    a, b, c, d = weights[0], weights[1], weights[2], weights[3]
    high = np.uint32(16)
    for column in range(total.size):
        w, x, y, z = first[column], second[column], third[column], fourth[column]
        i = np.uint32(((w & 0x7FFF) << shift) | ((w & 0x8000) << high)).view(np.float32) * factor
        j = np.uint32(((x & 0x7FFF) << shift) | ((x & 0x8000) << high)).view(np.float32) * factor
        k = np.uint32(((y & 0x7FFF) << shift) | ((y & 0x8000) << high)).view(np.float32) * factor
        m = np.uint32(((z & 0x7FFF) << shift) | ((z & 0x8000) << high)).view(np.float32) * factor
        total[column] = (((total[column] + a * i) + b * j) + c * k) + d * m


def add_four_bytes(
    total: Float64Array,
    weights: Float64Array,
    codes: Codes,
    scales: Float32Array,
) -> None:
    """Decode four weighted deltas, as ``ScaledBytes`` does, and add them; as `add_four`.

    Args:
        total: float64 (columns,), of one tensor.
        weights: float64 (4,).
        codes: int8 (columns,) of each.
        scales: float32 (4,), the tensor's scale in each.
    """
    first, second, third, fourth = codes
    a, b, c, d = weights[0], weights[1], weights[2], weights[3]
    p, q, r, s = scales[0], scales[1], scales[2], scales[3]
    for column in range(total.size):
        total[column] = (
            (
                (total[column] + a * (p * np.float32(first[column])))
                + b * (q * np.float32(second[column]))
            )
            + c * (r * np.float32(third[column]))
        ) + d * (s * np.float32(fourth[column]))


def add_squares(columns: Float64Array, squares: Float64Array) -> None:
    """Add each client's squares, column after column: the diagonal of `add_products`.

    Args:
        columns: float64 (columns, clients).
        squares: float64 (clients,), changed.
    """
    for row in range(columns.shape[0]):
        for client in range(columns.shape[1]):
            squares[client] += columns[row, client] * columns[row, client]


def add_products_with(columns: Float64Array, root: int, sums: Float64Array) -> None:
    """Add each client's products with one of them, column after column: a row of `add_products`.

    Args:
        columns: float64 (columns, clients).
        root: which client.
        sums: float64 (clients,), changed.
    """
    for row in range(columns.shape[0]):
        for client in range(columns.shape[1]):
            sums[client] += columns[row, root] * columns[row, client]


def add_products(columns: Float64Array, gram: Float64Array) -> None:
    """Add the products of all pairs of clients, column after column.

    Products of float32 values are exact in float64, so that a machine that fuses multiplication and
    addition gives the same bits as one that does not.

    Args:
        columns: float64 (columns, clients), a multiple of 4 and a multiple of 2; values of float32.
        gram: float64 (clients, clients), changed in the upper triangle; what is below is not said.
    """
    clients = columns.shape[1]
    for row in range(0, columns.shape[0], 4):
        first, second, third, fourth = (
            columns[row],
            columns[row + 1],
            columns[row + 2],
            columns[row + 3],
        )
        for i in range(0, clients, 2):
            a, b, c, d = first[i], second[i], third[i], fourth[i]
            e, f, g, h = first[i + 1], second[i + 1], third[i + 1], fourth[i + 1]
            upper, lower = gram[i], gram[i + 1]
            for k in range(i, clients):
                w, x, y, z = first[k], second[k], third[k], fourth[k]
                upper[k] = (((upper[k] + a * w) + b * x) + c * y) + d * z
                lower[k] = (((lower[k] + e * w) + f * x) + g * y) + h * z


def sort_columns(block: Block, pairs: Any) -> None:  # noqa: ANN401 - an integer array (pairs, 2)
    """Sort each column of a block (clients, columns) by a network of compare-and-swap pairs.

    All columns go through one pair together, without a branch: many columns an instruction.
    """
    for pair in range(pairs.shape[0]):
        low, high = pairs[pair, 0], pairs[pair, 1]
        for column in range(block.shape[1]):
            one, other = block[low, column], block[high, column]
            block[low, column] = one if one < other else other  # noqa: FURB136 - min(): slower
            block[high, column] = other if one < other else one  # noqa: FURB136


def add_rows(block: Block, total: Float64Array) -> None:
    """Add each row of a block (clients, columns) to the total, float64 (columns,), in order."""
    for client in range(block.shape[0]):
        for column in range(total.size):
            total[column] += block[client, column]


def mean_near_median(block: Block, near: int, means: Float64Array) -> None:
    """Write the mean of the values nearest the median of each sorted column.

    Args:
        block: (clients, columns), ascending in each column.
        near: how many values, at least 1; of two equally far ones the smaller counts.
        means: float64 (columns,), written.
    """
    clients = block.shape[0]
    for column in range(block.shape[1]):
        lower = np.float64(block[(clients - 1) // 2, column])
        median = lower + (np.float64(block[clients // 2, column]) - lower) / 2
        start, stop = 0, clients
        while stop - start > near:
            if median - block[start, column] > block[stop - 1, column] - median:
                start += 1
            else:
                stop -= 1
        total = np.float64(0)
        for client in range(start, stop):
            total += block[client, column]
        means[column] = total / near


_EXACT = (add_products, add_products_with, add_squares)
"""Their products are exact, so that fusing changes no bit."""


@cache
def compiled(kernel: Kernel) -> Kernel:
    """Return a kernel as machine code that runs without the interpreter's lock.

    The code is kept in ``NUMBA_CACHE_DIR``, or beside the module, or in the user's cache; where
    nothing can be written, each process that begins compiles anew.
    """
    from numba import njit  # noqa: PLC0415 - half a second and 60 MiB that the intake saves

    fused = {"contract"} if kernel in _EXACT else False
    fast: Any = njit(nogil=True, error_model="numpy", fastmath=fused)(kernel)
    try:
        fast.enable_caching()
    except RuntimeError:  # "no locator available": a read-only file system
        return fast  # type: ignore[no-any-return]
    return fast  # type: ignore[no-any-return]


def warm() -> None:
    """Compile everything, so that no task waits for it; takes seconds where nothing is cached."""
    single, total, pairs = np.zeros(4, np.float32), np.zeros(4), np.zeros((1, 2), np.int64)
    halves, small = np.zeros(4, np.uint16), np.zeros(4, np.int8)
    for array in (single, pairs, halves, small):
        array.flags.writeable = False  # as they come from a file and from a cache
    compiled(add_one)(total, np.float64(1), single)
    compiled(add_four)(total, np.ones(4), (single, single, single, single))
    compiled(add_four_halves)(
        total, np.ones(4), (halves, halves, halves, halves), np.uint32(16), np.float32(1)
    )
    compiled(add_four_bytes)(
        total, np.ones(4), (small, small, small, small), np.ones(4, np.float32)
    )
    compiled(add_squares)(np.zeros((4, 4)), np.zeros(4))
    compiled(add_products_with)(np.zeros((4, 4)), 0, np.zeros(4))
    compiled(add_products)(np.zeros((4, 4)), np.zeros((4, 4)))
    for block in (np.zeros((4, 4), np.float32), np.zeros((4, 4))):
        compiled(sort_columns)(block, pairs)
        compiled(add_rows)(block, total)
        compiled(mean_near_median)(block, 2, total)
