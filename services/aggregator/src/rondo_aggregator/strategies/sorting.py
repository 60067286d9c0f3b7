"""Sorting networks: which pairs of clients to compare, whatever the values are."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["pairs_for", "sorting_network"]


def sorting_network(size: int) -> list[tuple[int, int]]:
    """Return the pairs of Batcher's merge exchange, in order; each puts the smaller value first.

    Source: Knuth, The Art of Computer Programming, volume 3, algorithm 5.2.2M.

    >>> sorting_network(3)
    [(0, 2), (0, 1), (1, 2)]
    """
    pairs: list[tuple[int, int]] = []
    largest = 1 << max((size - 1).bit_length() - 1, 0)
    step = largest if size > 1 else 0
    while step:
        outer, offset, distance = largest, 0, step
        while True:
            pairs += [(i, i + distance) for i in range(size - distance) if i & step == offset]
            if outer == step:
                break
            distance, outer, offset = outer - step, outer >> 1, step
        step >>= 1
    return pairs


@lru_cache(maxsize=16)
def pairs_for(size: int, first: int, stop: int) -> NDArray[np.int64]:
    """Return the pairs that matter for places ``[first, stop)`` of ``size`` sorted values.

    Returns:
        int64 (pairs, 2), read-only: the network without the pairs that reach none of these places.

    >>> pairs_for(3, 0, 1).tolist()
    [[0, 2], [0, 1]]
    """
    needed, kept = set(range(first, stop)), []
    for low, high in reversed(sorting_network(size)):
        if low in needed or high in needed:
            needed |= {low, high}
            kept.append((low, high))
    pairs = np.array(kept[::-1], np.int64).reshape(-1, 2)
    pairs.flags.writeable = False
    return pairs
