"""Rounds that are combined in memory, whole or cut up, as the handlers combine them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from rondo_aggregator.domain.shards import split
from rondo_aggregator.strategies.cohort import Mix
from rondo_aggregator.strategies.inputs import Inputs, in_turn
from rondo_aggregator.strategies.products import BLOCK_COLUMNS, decode_nodes, encode_nodes
from rondo_aggregator.strategies.registry import named
from rondo_aggregator.strategies.rounds import columns_of, mix_of_round, products_of, products_shape
from rondo_core.events import Scalar
from rondo_core.layout import Float32Array


@dataclass(frozen=True)
class Played:
    """What a round left."""

    weights: Float32Array
    mix: Mix
    slots: dict[str, Float32Array] = field(default_factory=dict)
    step: int = 0

    @property
    def scalars(self) -> dict[str, float]:
        return self.mix.scalars


def play(
    strategy: str,
    parameters: Mapping[str, Scalar],
    deltas: Sequence[Float32Array],
    *,
    base: Float32Array | None = None,
    examples: Sequence[int] | None = None,
    clients: Sequence[str] | None = None,
    staleness: Sequence[int] = (),
    steps: Sequence[float | None] | None = None,
    before: Played | None = None,
    shards: int = 1,
    group: int = 1024,
    stretch_columns: int = 1024 * 1024,
) -> Played:
    """Combine one round; ``before`` is the round whose state it goes on with."""
    chosen = named(strategy, parameters, owned=lambda _: None)
    names = clients or [f"client-{index:03}" for index in range(len(deltas))]
    start = before.weights if before is not None else None
    model = base if base is not None else start
    if model is None:
        model = np.zeros(deltas[0].shape, np.float32)
    state = None if before is None else before.slots
    inputs = Inputs(
        columns=model.size,
        clients=names,
        examples=examples or [1] * len(deltas),
        staleness=staleness,
        steps=[1.0] * len(deltas) if steps is None else steps,
        base=lambda first, last: model[first:last],
        slot=(lambda name, first, last: state[name][first:last]) if state else None,
        read=in_turn(lambda client, first, last: deltas[client][first:last]),
        scalars={} if before is None else before.scalars,
        step=1 if before is None else before.step + 1,
        group=group,
        stretch_columns=stretch_columns,
    )
    width = -(-model.size // shards)
    nodes = []
    if chosen.need != "nothing":
        leaves = -(-width // BLOCK_COLUMNS) * BLOCK_COLUMNS
        for shard in split(model.size, leaves):
            found = products_of(chosen, inputs, shard.start, shard.stop)
            nodes += decode_nodes(encode_nodes(found), products_shape(chosen, inputs))
    mix = mix_of_round(chosen, inputs, nodes)
    parts = [
        columns_of(chosen, mix, inputs, one.start, one.stop) for one in split(model.size, width)
    ]
    return Played(
        np.concatenate([part.weights for part in parts]),
        mix,
        {
            name: np.concatenate([part.slots[index] for part in parts])
            for index, name in enumerate(chosen.slots)
        },
        inputs.step,
    )


def columns(*values: float) -> Float32Array:
    """Return a float32 vector."""
    return np.array(values, np.float32)
