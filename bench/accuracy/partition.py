"""How examples are split among clients; every example goes to exactly one of them.

Source: Li et al., 2022, section IV (NIID-Bench, arXiv:2102.02079), and the authors' code for what
the paper leaves open.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from rondo_core.errors import Invalid

__all__ = ["Partition", "by_dirichlet", "by_labels", "evenly"]

Positions = NDArray[np.int64]
Partition = Callable[[NDArray[np.int32], int, np.random.Generator], list[Positions]]
"""Takes every example's label, the number of clients and chance; gives each client's positions."""

_FEWEST = 10
"""A Dirichlet split that leaves a client fewer examples is drawn again."""
_DRAWS = 1000


def evenly(labels: NDArray[np.int32], clients: int, rng: np.random.Generator) -> list[Positions]:
    """Give every client as many examples, at random (the paper's homogeneous partition)."""
    return _checked(np.array_split(rng.permutation(len(labels)), clients), 1)


def by_dirichlet(concentration: float) -> Partition:
    """Spread each label over the clients by proportions of Dir(concentration).

    As in the authors' code, a client that has its even share of all examples already gets nothing
    of a further label, and a split that leaves a client fewer than 10 is drawn again.
    """

    def partition(
        labels: NDArray[np.int32], clients: int, rng: np.random.Generator
    ) -> list[Positions]:
        if _FEWEST * clients > len(labels):
            raise Invalid(f"{len(labels)} examples do not make {clients} times {_FEWEST}")
        for _ in range(_DRAWS):
            found = _drawn(labels, clients, concentration, rng)
            if min(map(len, found)) >= _FEWEST:
                return found
        raise Invalid(f"no split by Dir({concentration}) leaves {clients} clients {_FEWEST} each")

    return partition


def by_labels(number: int) -> Partition:
    """Give every client examples of so many labels, each label evenly to those that have it.

    As in the authors' code, the first label of client k is k modulo the number of labels, and the
    others are drawn.
    """

    def partition(
        labels: NDArray[np.int32], clients: int, rng: np.random.Generator
    ) -> list[Positions]:
        kinds = np.unique(labels)
        if not 1 <= number <= len(kinds) <= clients:
            raise Invalid(f"{number} labels each for {clients} clients, of {len(kinds)} labels")
        owned = [_some(index % len(kinds), number, len(kinds), rng) for index in range(clients)]
        parts: list[list[Positions]] = [[] for _ in range(clients)]
        for index, kind in enumerate(kinds):
            owners = [client for client, mine in enumerate(owned) if index in mine]
            positions = rng.permutation(np.flatnonzero(labels == kind))
            for client, part in zip(owners, np.array_split(positions, len(owners)), strict=True):
                parts[client].append(part)
        return _checked([np.concatenate(part) for part in parts], 1)

    return partition


def _drawn(
    labels: NDArray[np.int32], clients: int, concentration: float, rng: np.random.Generator
) -> list[Positions]:
    found = [np.empty(0, np.int64) for _ in range(clients)]
    for kind in np.unique(labels):
        positions = rng.permutation(np.flatnonzero(labels == kind))
        room = np.array([len(part) < len(labels) / clients for part in found], np.float64)
        shares = rng.dirichlet(np.full(clients, concentration)) * room
        if not shares.any():  # who drew the label has no room for it
            shares = room
        ends = (np.cumsum(shares / shares.sum())[:-1] * len(positions)).astype(np.int64)
        parts = np.split(positions, ends)
        found = [np.concatenate(two) for two in zip(found, parts, strict=True)]
    return found


def _some(first: int, number: int, kinds: int, rng: np.random.Generator) -> set[int]:
    others = [kind for kind in range(kinds) if kind != first]
    return {first, *rng.permutation(others)[: number - 1].tolist()}


def _checked(parts: list[Positions], fewest: int) -> list[Positions]:
    if min(map(len, parts)) < fewest:
        raise Invalid(f"a split among {len(parts)} clients leaves one of them without an example")
    return parts
