"""What a round's result depends on beside its strategy, and how its deltas are read: in stretches.

Whoever combines says which columns of which clients it wants, in its own order, so that only those
are in memory and the next ones may be fetched meanwhile.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from rondo_aggregator.strategies.combination import Strategy
from rondo_core.encodings import DeltaColumns
from rondo_core.layout import Float32Array

__all__ = ["Inputs", "Wanted", "in_turn"]


@dataclass(frozen=True, slots=True)
class Wanted:
    """The same columns ``[start, stop)`` of some clients' deltas."""

    clients: tuple[int, ...]
    start: int
    stop: int


Read = Callable[[Sequence[Wanted]], Iterator[list[DeltaColumns]]]
"""Yields the columns of each wish, in order; may fetch the next ones meanwhile."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """Everything that a round's result depends on beside the strategy.

    Attributes:
        columns: of the model.
        clients: their ids, in the manifest's order.
        examples: of each.
        staleness: of each.
        steps: of each.
        base: reads columns ``[start, stop)`` of the base version.
        slot: reads the same of a state vector; None where the round before left no state.
        read: reads deltas.
        scalars: what the rules kept of the round before.
        step: which of the run's, from 1.
        group: deltas that a weighted mean asks for at once.
        stretch_columns: columns of them that it asks for. What is mapped is best taken all at once
            and little of it, what has to be fetched the other way round.
    """

    columns: int
    clients: Sequence[str]
    examples: Sequence[int]
    base: Callable[[int, int], Float32Array]
    read: Read
    staleness: Sequence[int] = ()
    steps: Sequence[float | None] = ()
    slot: Callable[[str, int, int], Float32Array] | None = None
    scalars: Mapping[str, float] = field(default_factory=dict)
    step: int = 1
    group: int = 1024
    stretch_columns: int = 1024 * 1024

    def slots(self, strategy: Strategy, start: int, stop: int) -> list[Float32Array]:
        """Read all of a strategy's state vectors, or make the ones that a run begins with."""
        if self.slot is not None:
            return [self.slot(name, start, stop) for name in strategy.slots]
        size = stop - start
        return [np.full(size, first, np.float32) for first in strategy.slots.values()]


def in_turn(one: Callable[[int, int, int], DeltaColumns]) -> Read:
    """Return a reader that fetches one client's columns after the other.

    Args:
        one: reads columns ``[start, stop)`` of a client's delta.
    """

    def read(wishes: Sequence[Wanted]) -> Iterator[list[DeltaColumns]]:
        for wish in wishes:
            yield [one(client, wish.start, wish.stop) for client in wish.clients]

    return read
