"""A round in memory, combined by the functions of ``rondo-aggregator combine``."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from rondo_aggregator.domain.shards import split
from rondo_aggregator.strategies.combination import Strategy
from rondo_aggregator.strategies.inputs import Inputs, in_turn
from rondo_aggregator.strategies.rounds import columns_of, mix_of_round, products_of
from rondo_core.layout import Float32Array

__all__ = ["Server", "Update", "combined"]

_WIDTH = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Update:
    """What reaches the server of a client.

    Attributes:
        client: its number.
        delta: float32 (size,), decoded.
        examples: trained on.
        steps: that the training was worth; None where that cannot be said.
    """

    client: int
    delta: Float32Array
    examples: int
    steps: float | None


@dataclass(frozen=True, slots=True)
class Server:
    """A version and the state that belongs to it.

    Attributes:
        weights: float32 (size,).
        slots: the strategy's state vectors, float32 (size,); empty before the first round.
        scalars: what its rules keep.
        step: how many rounds were combined.
    """

    weights: Float32Array
    slots: Mapping[str, Float32Array] = field(default_factory=dict)
    scalars: Mapping[str, float] = field(default_factory=dict)
    step: int = 0


def combined(strategy: Strategy, server: Server, updates: Sequence[Update]) -> Server:
    """Return the next version and state.

    Raises:
        Invalid: a rule refuses the round, or the result is not finite.
    """
    slots = server.slots
    inputs = Inputs(
        columns=server.weights.size,
        clients=[f"{update.client:06}" for update in updates],
        examples=[update.examples for update in updates],
        staleness=[0] * len(updates),
        steps=[update.steps for update in updates],
        base=lambda start, stop: server.weights[start:stop],
        slot=(lambda name, start, stop: slots[name][start:stop]) if slots else None,
        read=in_turn(lambda client, start, stop: updates[client].delta[start:stop]),
        scalars=server.scalars,
        step=server.step + 1,
    )
    nodes = [] if strategy.need == "nothing" else products_of(strategy, inputs, 0, inputs.columns)
    mix = mix_of_round(strategy, inputs, nodes)
    shards = split(inputs.columns, _WIDTH)
    parts = [columns_of(strategy, mix, inputs, shard.start, shard.stop) for shard in shards]
    vectors = zip(*(part.slots for part in parts), strict=True)
    return Server(
        np.concatenate([part.weights for part in parts]),
        dict(zip(strategy.slots, map(np.concatenate, vectors), strict=True)),
        mix.scalars,
        inputs.step,
    )
