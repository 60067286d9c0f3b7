"""A round as stretches of columns: what to read of its inputs, and what to make of it.

Memory is bounded by the stretch, whatever the number of clients and the size of the model. No bit
of the result depends on how a round is cut into stretches, groups or shards.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np

from rondo_aggregator.strategies.arrays import Float64Array
from rondo_aggregator.strategies.cohort import Cohort, Mix
from rondo_aggregator.strategies.column_rules.weighted_mean import add_weighted
from rondo_aggregator.strategies.combination import (
    CENTRE,
    Columns,
    Strategy,
    combined_delta,
    order_columns,
    stepped,
)
from rondo_aggregator.strategies.inputs import Inputs, Wanted
from rondo_aggregator.strategies.products import (
    BLOCK_COLUMNS,
    TURN_COLUMNS,
    Kept,
    Node,
    joined,
    leaf,
    total,
)
from rondo_core.errors import StrategyInvalid
from rondo_core.layout import Float32Array

__all__ = ["columns_of", "mix_of_round", "products_of", "products_shape"]

_STRETCH_VALUES = 16 * 1024 * 1024
"""Values of all clients in a stretch of a rule that needs them side by side: 64 MiB."""


def products_shape(strategy: Strategy, inputs: Inputs) -> tuple[int, int]:
    """Return the shape of the sums of a node of `products_of`; a kept centre is one more vector.

    Raises:
        StrategyInvalid: the root client has no update.
    """
    vectors = len(inputs.clients) + (strategy.centred and inputs.slot is not None)
    return _kept(strategy, inputs).shape(vectors)


def products_of(strategy: Strategy, inputs: Inputs, start: int, stop: int) -> list[Node]:
    """Sum the inner products over columns ``[start, stop)``.

    Args:
        strategy: says which are needed.
        inputs: the deltas.
        start: a multiple of `BLOCK_COLUMNS`.
        stop: another one, or the end of the model.

    Raises:
        StrategyInvalid: the root client has no update.
    """
    kept = _kept(strategy, inputs)
    everybody = tuple(range(len(inputs.clients)))
    width = _STRETCH_VALUES // max(len(everybody), 1) // TURN_COLUMNS * TURN_COLUMNS
    width = min(max(width, TURN_COLUMNS), BLOCK_COLUMNS)
    blocks = [
        [Wanted(everybody, *ends) for ends in _cut(*block, width)]
        for block in _cut(start, stop, BLOCK_COLUMNS)
    ]
    wishes = [wish for block in blocks for wish in block]
    found = zip(wishes, inputs.read(wishes), strict=True)
    centre = inputs.slot if strategy.centred else None

    def stretches(count: int) -> Iterator[list[Float32Array]]:
        for wish, deltas in islice(found, count):
            last = [] if centre is None else [centre(CENTRE, wish.start, wish.stop)]
            yield [*(delta[:] for delta in deltas), *last]

    def leaves() -> Iterator[Node]:
        for block in blocks:
            index = block[0].start // BLOCK_COLUMNS
            yield leaf(index, stretches(len(block)), kept)

    return joined(leaves())


def _kept(strategy: Strategy, inputs: Inputs) -> Kept:
    if strategy.need != "root-products":
        return Kept(pairs=strategy.need == "products")
    if strategy.root not in inputs.clients:
        raise StrategyInvalid(f"{strategy.name}: the root client {strategy.root!r} has no update")
    return Kept(root=inputs.clients.index(strategy.root))


def mix_of_round(strategy: Strategy, inputs: Inputs, nodes: Sequence[Node]) -> Mix:
    """Decide how much each client counts.

    Args:
        strategy: whose rules decide.
        inputs: who there is.
        nodes: of all columns, in order; none where nothing is needed.

    Raises:
        EmptyRound: nobody counts.
        StrategyInvalid: the rule needs more updates, or other ones.
    """
    cohort = Cohort(
        clients=inputs.clients,
        examples=inputs.examples,
        staleness=inputs.staleness,
        steps=inputs.steps,
        scalars=inputs.scalars,
        **_known(strategy, nodes),
    )
    return strategy.mix(cohort)


def _known(strategy: Strategy, nodes: Sequence[Node]) -> dict[str, Float64Array]:
    if strategy.need == "nothing":
        return {}
    sums = total(nodes)
    if strategy.need == "products":
        return {"products": sums}
    return dict(zip(("squares", "with_root"), sums, strict=False))


def columns_of(strategy: Strategy, mix: Mix, inputs: Inputs, start: int, stop: int) -> Columns:
    """Combine columns ``[start, stop)``.

    Raises:
        EmptyRound, StrategyInvalid: as the rules say.
        Invalid: a column of the result is not finite.
    """
    slots = inputs.slots(strategy, start, stop)
    ordered = strategy.column_rule.order is not None
    wanted = [] if ordered else [mix.coefficients]
    if strategy.controlled:
        wanted.append(np.array(mix.control))
    sums = _weighted_sums(wanted, inputs, start, stop)
    control = None
    if strategy.controlled:
        control = sums.pop()
        control += mix.control_kept * strategy.control_of(slots).astype(np.float64)
    if ordered:
        delta = _ordered(strategy, mix, inputs, start, stop)
    else:
        delta = combined_delta(strategy, mix, sums.pop(), slots)
    base = inputs.base(start, stop)
    return stepped(strategy, base, delta, slots, inputs.step, first=start, control=control)


def _weighted_sums(
    coefficients: Sequence[Float64Array], inputs: Inputs, start: int, stop: int
) -> list[Float64Array]:
    """Sum the deltas once for each list of coefficients, reading them once."""
    if not coefficients:
        return []
    counting = [int(k) for k in np.flatnonzero(np.any(coefficients, axis=0))]
    size = inputs.group
    groups = [tuple(counting[k : k + size]) for k in range(0, len(counting), size)]
    ends = _cut(start, stop, inputs.stretch_columns)
    wishes = [Wanted(group, *two) for two in ends for group in groups]
    sums = [np.zeros(stop - start, np.float64) for _ in coefficients]
    for wish, deltas in zip(wishes, inputs.read(wishes), strict=True):
        part = slice(wish.start - start, wish.stop - start)
        for total_, each in zip(sums, coefficients, strict=True):
            add_weighted(total_[part], deltas, each[list(wish.clients)])
        deltas.clear()  # not held while the next ones are waited for
    return sums


def _ordered(strategy: Strategy, mix: Mix, inputs: Inputs, start: int, stop: int) -> Float64Array:
    counting = tuple(k for k, weight in enumerate(mix.weights) if weight > 0)
    factors = [mix.factors[k] for k in counting]
    weights = [mix.weights[k] for k in counting]
    width = max(_STRETCH_VALUES // max(len(counting), 1), 1)
    wishes = [Wanted(counting, *ends) for ends in _cut(start, stop, width)]
    result = np.empty(stop - start, np.float64)
    for wish, deltas in zip(wishes, inputs.read(wishes), strict=True):
        part = slice(wish.start - start, wish.stop - start)
        values = [delta[:] for delta in deltas]
        result[part] = order_columns(strategy.column_rule, factors, weights, values)
    return result


def _cut(start: int, stop: int, width: int) -> list[tuple[int, int]]:
    """Cut a range into ranges of a width; the last may be smaller."""
    return [
        (start + width * k, min(start + width * (k + 1), stop))
        for k in range(math.ceil((stop - start) / width))
    ]
