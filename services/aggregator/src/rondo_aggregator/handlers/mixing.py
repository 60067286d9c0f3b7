"""T5b, where a strategy looks at the deltas before it combines them: inner products, then the mix.

The products are summed shard by shard in one fixed tree, as partials are made, and what each client
counts follows from them. Both are pure functions of the manifest, content of create-once objects.
"""

from collections.abc import Iterator, Sequence
from typing import Literal

from rondo_aggregator.domain.attempt import Attempt
from rondo_aggregator.domain.shards import Shard, split
from rondo_aggregator.handlers.inputs import inputs_of
from rondo_aggregator.handlers.partials import move_lease, noting_failure, sealed_source
from rondo_aggregator.handlers.ports import Jobs, Objects
from rondo_aggregator.handlers.reading import Source
from rondo_aggregator.strategies.cohort import Mix, encode_mix
from rondo_aggregator.strategies.products import (
    BLOCK_COLUMNS,
    Node,
    decode_nodes,
    encode_nodes,
    joined,
)
from rondo_aggregator.strategies.registry import Strategies
from rondo_aggregator.strategies.rounds import mix_of_round, products_of, products_shape
from rondo_core.model_store import mix_key, products_key
from rondo_core.run_store import RunStore

__all__ = ["ask_for_products", "mix_alone", "sum_products", "write_mix"]

_LARGEST_PRODUCTS_BYTES = 2 * 1024 * 1024 * 1024


def sum_products(
    attempt: Attempt,
    manifest: str,
    *,
    width: int,
    index: int,
    store: RunStore,
    objects: Objects,
    jobs: Jobs,
    strategies: Strategies,
) -> Literal["not-sealed", "products", "joined"]:
    """Write the products of one shard, create-once; ask for what follows when it was the last one.

    Arguments and errors are those of ``make_partial``.
    """
    with noting_failure(attempt, store):
        source = sealed_source(attempt, manifest, store, objects, strategies)
        if source is None:
            return "not-sealed"
        shards = product_shards(source, width)
        key = _key(source, shards[index])
        if objects.head(key) is None:
            shard, inputs = shards[index], inputs_of(source, objects)
            nodes = products_of(source.strategy, inputs, shard.start, shard.stop)
            objects.put(key, encode_nodes(nodes))
    move_lease(attempt, store=store)
    if next(_missing(source, shards, objects, first=index + 1), None) is not None:
        return "products"
    jobs.combine(attempt)
    return "joined"


def product_shards(source: Source, width: int) -> Sequence[Shard]:
    """Cut the model as partials are cut, but at the edges of the tree's leaves."""
    return split(source.layout.size, -(-width // BLOCK_COLUMNS) * BLOCK_COLUMNS)


def ask_for_products(
    attempt: Attempt, source: Source, width: int, objects: Objects, jobs: Jobs
) -> bool:
    """Ask for all products that do not exist; say whether there were any to ask for."""
    if source.strategy.need == "nothing" or objects.head(mix_key(source.manifest_sha256)):
        return False
    missing = list(_missing(source, product_shards(source, width), objects))
    for index in missing:
        jobs.sum_products(attempt, manifest=source.manifest_sha256, width=width, index=index)
    return bool(missing)


def write_mix(source: Source, width: int, objects: Objects) -> None:
    """Decide what each client counts, from products that all exist; create-once.

    Raises:
        EmptyRound, StrategyInvalid: the rule has nobody left, or needs more updates.
    """
    key = mix_key(source.manifest_sha256)
    if source.strategy.need == "nothing" or objects.head(key) is not None:
        return
    inputs = inputs_of(source, objects)
    shape = products_shape(source.strategy, inputs)

    def nodes() -> Iterator[Node]:
        for shard in product_shards(source, width):
            data = objects.passing(_key(source, shard), 0, _LARGEST_PRODUCTS_BYTES)
            yield from decode_nodes(data, shape)

    objects.put(key, encode_mix(mix_of_round(source.strategy, inputs, joined(nodes()))))


def mix_alone(source: Source, objects: Objects) -> Mix:
    """Decide what each client counts in one go, for a model of one shard."""
    inputs = inputs_of(source, objects)
    if source.strategy.need == "nothing":
        return mix_of_round(source.strategy, inputs, [])
    nodes = products_of(source.strategy, inputs, 0, source.layout.size)
    return mix_of_round(source.strategy, inputs, nodes)


def _key(source: Source, shard: Shard) -> str:
    return products_key(source.strategy.need, source.manifest_sha256, shard.start, shard.stop)


def _missing(
    source: Source, shards: Sequence[Shard], objects: Objects, *, first: int = 0
) -> Iterator[int]:
    """Yield the indices of products that do not exist, as ``missing_shards`` does of partials."""
    for index in range(first, first + len(shards)):
        if objects.head(_key(source, shards[index % len(shards)])) is None:
            yield index % len(shards)
