"""A strategy is three small pure functions; this is where they are named, and where they run."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from rondo_aggregator.strategies.arrays import Float64Array
from rondo_aggregator.strategies.client_weights.examples import examples_weights
from rondo_aggregator.strategies.column_rules.weighted_mean import weighted_mean
from rondo_aggregator.strategies.server_optimizers.none import add_delta
from rondo_core.errors import Invalid, LayoutMismatch
from rondo_core.layout import Float32Array
from rondo_core.weights import first_not_finite

__all__ = ["STRATEGIES", "Strategy", "combine_columns", "strategy_named"]

BLOCK_COLUMNS = 16_384
"""A block of every array that the rule touches stays in the second-level cache."""


@dataclass(frozen=True, slots=True)
class Strategy:
    """What makes a version of a base and its updates."""

    client_weights: Callable[[Sequence[int]], Float64Array]
    column_rule: Callable[[Sequence[Float32Array], Float64Array], Float64Array]
    server_optimizer: Callable[[Float32Array, Float64Array], Float32Array]


STRATEGIES: Mapping[str, Strategy] = MappingProxyType(
    {"fedavg": Strategy(examples_weights, weighted_mean, add_delta)}
)


def strategy_named(name: str) -> Strategy:
    """Look a strategy up.

    Raises:
        Invalid: there is none of this name; the message lists all.

    >>> strategy_named("fedavg").column_rule.__name__
    'weighted_mean'
    """
    try:
        return STRATEGIES[name]
    except KeyError:
        raise Invalid(f"strategy {name!r} is none of {', '.join(sorted(STRATEGIES))}") from None


def combine_columns(
    strategy: Strategy, base: Float32Array, deltas: Sequence[Float32Array], examples: Sequence[int]
) -> Float32Array:
    """Return the columns of the next version: a pure function, the same bits for any split.

    Works block by block: beside the result it needs a few hundred KiB, however long the columns
    are. The one place to put a faster kernel.

    Args:
        strategy: the three functions.
        base: float32 (columns,) of the base version; only read.
        deltas: one float32 (columns,) array a client, in the manifest's order; only read.
        examples: of each client, in the same order.

    Returns:
        float32 (columns,), owned by the caller.

    Raises:
        EmptyRound: there is no update, or no example behind them.
        LayoutMismatch: an array is shorter or longer than the base.
        Invalid: a column of the result is not finite.

    >>> deltas = [np.float32([4, 0]), np.float32([0, 8])]
    >>> combine_columns(strategy_named("fedavg"), np.float32([1, 1]), deltas, [30, 10])
    array([4., 3.], dtype=float32)
    """
    weights = strategy.client_weights(examples)
    for index, delta in enumerate(deltas):
        if delta.shape != base.shape:
            raise LayoutMismatch(f"update {index}", f"shape {delta.shape}, expected {base.shape}")
    result = np.empty(base.shape, np.float32)
    for start in range(0, base.size, BLOCK_COLUMNS):
        block = slice(start, start + BLOCK_COLUMNS)
        combined = strategy.column_rule([delta[block] for delta in deltas], weights)
        result[block] = strategy.server_optimizer(base[block], combined)
    column = first_not_finite(result)
    if column is not None:
        raise Invalid(f"column {column} of the result is {result[column]}")
    return result
