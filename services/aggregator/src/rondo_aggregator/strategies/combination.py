"""A strategy as functions, and what they make of a stretch of columns."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from rondo_aggregator.strategies.arrays import Block, Float64Array
from rondo_aggregator.strategies.cohort import Cohort, Mix
from rondo_core.errors import EmptyRound, Invalid
from rondo_core.layout import Float32Array
from rondo_core.weights import first_not_finite

__all__ = [
    "CENTRE",
    "CONTROL",
    "ColumnRule",
    "Columns",
    "Need",
    "Optimizer",
    "Strategy",
    "combined_delta",
    "order_columns",
    "stepped",
]

BLOCK_COLUMNS = 16_384
"""A block of every array that an optimizer touches stays in the second-level cache."""
_BLOCK_VALUES = 262_144
"""Values of all clients in a block that is sorted: 1 MiB of float32."""
CENTRE = "centre"
"""The slot that keeps the combined delta of the round before."""
CONTROL = "control"
"""The slot that keeps the control variate: what the clients' mean step is, with the sign of g."""

Need = Literal["nothing", "norms", "root-products", "products"]
"""What a strategy must know of the deltas before any column is combined, each more than the last:
their norms, also their products with one client's, or those of all pairs."""


@dataclass(frozen=True, slots=True)
class ColumnRule:
    """How the deltas of a column become one.

    Attributes:
        reweigh: for a rule that is a weighted mean in the end: finds the weights.
        order: for a rule that sees all clients' values of a column at once: (clients, columns) and
            weights to (columns,). None for a weighted mean.
        float64: whether ``order`` is given float64 values also where float32 would do.
    """

    reweigh: Callable[[Cohort, Mix], Mix] | None = None
    order: Callable[[Block, Float64Array], Float64Array] | None = None
    float64: bool = False


@dataclass(frozen=True, slots=True)
class Optimizer:
    """How the combined delta becomes a step.

    Attributes:
        slots: name of each state vector, and the value that it begins with in every column.
        step: (delta, slots, number of the step from 1) to (step, new slots), all float64.
    """

    slots: Mapping[str, float]
    step: Callable[[Float64Array, Sequence[Float32Array], int], Sequence[Float64Array]]


@dataclass(frozen=True, slots=True)
class Strategy:
    """What makes a version of a base, its updates and the state of the round before.

    Attributes:
        name: as it was asked for.
        client_weights: how much each client counts.
        need: what it and the column rule must know of the deltas.
        column_rule: how the deltas of a column become one.
        optimizer: how that becomes a step.
        root: the client without whose update nothing is combined.
        centred: whether the combined delta is kept for the next round.
        controlled: whether a control variate is kept for the next round.
        stateful: whether anything is kept for the next round.
    """

    name: str
    client_weights: Callable[[Cohort], Mix]
    need: Need
    column_rule: ColumnRule
    optimizer: Optimizer
    root: str | None = None
    centred: bool = False
    controlled: bool = False
    stateful: bool = False

    @property
    def slots(self) -> dict[str, float]:
        """Name and first value of every state vector; the centre is the last."""
        control = {CONTROL: 0.0} if self.controlled else {}
        return {**self.optimizer.slots, **control, **({CENTRE: 0.0} if self.centred else {})}

    def control_of(self, slots: Sequence[Float32Array]) -> Float32Array:
        """Return the control variate among the arrays of `slots`."""
        return slots[len(self.optimizer.slots)]

    def mix(self, cohort: Cohort) -> Mix:
        """Decide how much each client counts.

        Raises:
            EmptyRound: nobody counts.
            StrategyInvalid: the rule needs more updates, or other ones.
        """
        mix = self.client_weights(cohort)
        reweigh = self.column_rule.reweigh
        if reweigh is None:
            return mix
        return replace(reweigh(cohort, mix), control=mix.control, control_kept=mix.control_kept)


@dataclass(frozen=True, slots=True)
class Columns:
    """Columns of the next version, and of every state vector after the round, all float32."""

    weights: Float32Array
    slots: tuple[Float32Array, ...]


def combined_delta(
    strategy: Strategy, mix: Mix, total: Float64Array, slots: Sequence[Float32Array]
) -> Float64Array:
    """Turn the weighted sum into the mean, in place."""
    total /= mix.divisor
    if strategy.centred and mix.centre:
        total += mix.centre * slots[-1].astype(np.float64)
    return total


def order_columns(
    rule: ColumnRule,
    factors: Sequence[float],
    weights: Sequence[float],
    deltas: Sequence[Float32Array],
) -> Float64Array:
    """Apply a rule that sees all clients at once, block by block.

    Args:
        rule: with an ``order``.
        factors: by which each delta is multiplied first.
        weights: of each client, all positive.
        deltas: one float32 (columns,) array a client, in the same order; only read.

    Returns:
        float64 (columns,), owned by the caller.

    Raises:
        EmptyRound: there is no client.
        StrategyInvalid: an organisation's own rule failed.
    """
    if not deltas or rule.order is None:
        raise EmptyRound("no client is left for the column rule")
    plain = not rule.float64 and all(factor == 1 for factor in factors)
    width = max(_BLOCK_VALUES // len(deltas) // 16 * 16, 64)
    result = np.empty(deltas[0].shape, np.float64)
    for start in range(0, result.size, width):
        part = slice(start, min(start + width, result.size))
        values = [delta[part] for delta in deltas]
        block = np.stack(values) if plain else _scaled(values, factors)
        result[part] = rule.order(block, np.array(weights))
    return result


def _scaled(values: Sequence[Float32Array], factors: Sequence[float]) -> Block:
    block = np.empty((len(values), values[0].size), np.float64)
    for row, one, factor in zip(block, values, factors, strict=True):
        np.multiply(one, factor, out=row, dtype=np.float64)
    return block


def stepped(
    strategy: Strategy,
    base: Float32Array,
    delta: Float64Array,
    slots: Sequence[Float32Array],
    step: int,
    *,
    first: int = 0,
    control: Float64Array | None = None,
) -> Columns:
    """Take the server optimizer's step, block by block, and round once to float32.

    Args:
        strategy: whose optimizer steps.
        base: float32 (columns,) of the base version; only read.
        delta: float64 (columns,), the combined delta.
        slots: one float32 (columns,) array for each of the strategy's slots; only read.
        step: which of the run's, from 1.
        first: the model's number of the first of these columns, for the words of an error.
        control: float64 (columns,), the control variate after the round, where one is kept.

    Returns:
        Arrays owned by the caller.

    Raises:
        Invalid: a column of the result, or of the state, is not finite.
    """
    own = len(strategy.optimizer.slots)
    weights = np.empty(base.shape, np.float32)
    after = tuple(np.empty(base.shape, np.float32) for _ in strategy.slots)
    with np.errstate(over="ignore", invalid="ignore"):
        for start in range(0, base.size, BLOCK_COLUMNS):
            block = slice(start, start + BLOCK_COLUMNS)
            mine = [slot[block] for slot in slots[:own]]
            move, *new = strategy.optimizer.step(delta[block], mine, step)
            weights[block] = base[block] + move
            for slot, values in zip(after, new, strict=False):
                slot[block] = values
        if control is not None:
            after[own][:] = control
        if strategy.centred:
            after[-1][:] = delta
    for name, array in (("result", weights), *zip(strategy.slots, after, strict=True)):
        _require_finite(name, array, first)
    return Columns(weights, after)


def _require_finite(name: str, array: Float32Array, first: int) -> None:
    column = first_not_finite(array)
    if column is not None:
        raise Invalid(f"column {first + column} of the {name} is {array[column]}")
