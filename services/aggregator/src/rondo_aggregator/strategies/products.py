"""The inner products of the deltas, summed in one tree however the columns are cut.

A leaf is a block of columns with a place of its own in the model. Two neighbours that are the two
halves of a larger block are added as soon as both are there. So what a shard knows is a few nodes
of one fixed tree, shards are joined by the same rule, and the sums have the same bits whoever made
them. Sums are float64; the products of two float32 values are exact in it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from rondo_aggregator.strategies.arrays import Float64Array
from rondo_aggregator.strategies.kernels import (
    add_products,
    add_products_with,
    add_squares,
    compiled,
)
from rondo_core.errors import Invalid
from rondo_core.layout import Float32Array

__all__ = [
    "BLOCK_COLUMNS",
    "TURN_COLUMNS",
    "Kept",
    "Node",
    "decode_nodes",
    "encode_nodes",
    "joined",
    "leaf",
    "total",
]

BLOCK_COLUMNS = 65_536
"""Columns of a leaf. Part of the result's definition: another number gives other last bits."""

TURN_COLUMNS = 512
"""So many columns of 100 clients, turned to have the clients side by side, fit the cache."""
_HEAD = np.dtype("<i8")
_SUM = np.dtype("<f8")


@dataclass(frozen=True, slots=True)
class Kept:
    """Which products are summed; what two of these have in common has the same bits in both.

    Attributes:
        pairs: those of all pairs of vectors; else only each vector's with itself.
        root: without pairs, also each vector's with this one.
    """

    pairs: bool = False
    root: int | None = None

    def shape(self, vectors: int) -> tuple[int, int]:
        """Return that of a node's sums: as rows all vectors, or the squares and the root's."""
        return (vectors if self.pairs else 1 + (self.root is not None), vectors)


@dataclass(frozen=True, slots=True)
class Node:
    """The sums over ``2 ** level`` blocks, of which this is the one numbered ``index``."""

    level: int
    index: int
    sums: Float64Array


def leaf(index: int, stretches: Iterable[Sequence[Float32Array]], kept: Kept) -> Node:
    """Sum the products of one block.

    Args:
        index: which block of the model.
        stretches: the block's columns in their order, float32 (columns,) of each vector; all but
            the last of a multiple of `TURN_COLUMNS`. How they are cut does not show.
        kept: which products.

    Returns:
        float64, of ``kept.shape``; of all pairs it is symmetric.

    >>> block = [[np.float32([3, 4]), np.float32([1, 0])]]
    >>> leaf(0, block, Kept(pairs=True)).sums
    array([[25.,  3.],
           [ 3.,  1.]])
    >>> leaf(0, block, Kept()).sums
    array([[25.,  1.]])
    """
    sums = np.zeros((0, 0), np.float64)
    vectors = 0
    for deltas in stretches:
        if not vectors:
            vectors = len(deltas)
            sums = np.zeros(kept.shape(vectors + vectors % 2), np.float64)
        _add(sums, deltas, kept)
    if not kept.pairs:
        return Node(0, index, sums[:, :vectors])
    upper = np.triu(sums[:vectors, :vectors])
    return Node(0, index, upper + np.triu(upper, 1).T)


def _add(sums: Float64Array, deltas: Sequence[Float32Array], kept: Kept) -> None:
    turned = np.zeros((TURN_COLUMNS, sums.shape[1]), np.float64)
    for start in range(0, deltas[0].size, TURN_COLUMNS):
        width = min(TURN_COLUMNS, deltas[0].size - start)
        for vector, delta in enumerate(deltas):
            turned[:width, vector] = delta[start : start + width]
        turned[width:] = 0
        if kept.pairs:
            compiled(add_products)(turned, sums)
        else:
            compiled(add_squares)(turned, sums[0])
        if kept.root is not None:
            compiled(add_products_with)(turned, kept.root, sums[1])


def joined(nodes: Iterable[Node]) -> list[Node]:
    """Add up neighbours that are two halves of one block, again and again.

    Args:
        nodes: in the order of their columns, without a gap.

    >>> one = np.ones((1, 1))
    >>> [(node.level, node.index) for node in joined(Node(0, index, one) for index in (1, 2, 3, 4))]
    [(0, 1), (1, 1), (0, 4)]
    """
    found: list[Node] = []
    for node in nodes:
        found.append(node)
        while len(found) > 1 and _halves(*found[-2:]):
            right, left = found.pop(), found.pop()
            found.append(Node(left.level + 1, left.index // 2, left.sums + right.sums))
    return found


def total(nodes: Iterable[Node]) -> Float64Array:
    """Return the sums over all columns, from the nodes of all shards in their order."""
    first, *rest = joined(nodes)
    sums = first.sums
    for node in rest:
        sums = sums + node.sums
    return sums


def encode_nodes(nodes: Sequence[Node]) -> bytes:
    """Return nodes as bytes: how many, level and index of each, then the sums."""
    head = [len(nodes), *(number for node in nodes for number in (node.level, node.index))]
    sums = (np.ascontiguousarray(node.sums, _SUM).tobytes() for node in nodes)
    return np.array(head, _HEAD).tobytes() + b"".join(sums)


def decode_nodes(data: bytes | memoryview, shape: tuple[int, int]) -> list[Node]:
    """Read what `encode_nodes` wrote; ``shape`` is that of a node's sums.

    Raises:
        Invalid: there are more or fewer bytes than the head says.
    """
    count = int(np.frombuffer(data[: _HEAD.itemsize], _HEAD)[0]) if len(data) else 0
    heads = _HEAD.itemsize * (1 + 2 * count)
    if count < 1 or len(data) != heads + count * shape[0] * shape[1] * _SUM.itemsize:
        raise Invalid(f"{len(data)} bytes are not {shape[0]} x {shape[1]} products")
    places = np.frombuffer(data[_HEAD.itemsize : heads], _HEAD).reshape(count, 2)
    sums = np.frombuffer(data[heads:], _SUM).reshape(count, *shape)
    return [
        Node(int(level), int(index), part)
        for (level, index), part in zip(places, sums, strict=True)
    ]


def _halves(left: Node, right: Node) -> bool:
    same = left.level == right.level
    return same and left.index % 2 == 0 and right.index == left.index + 1
