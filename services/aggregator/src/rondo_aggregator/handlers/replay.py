"""A past round combined again: with the same strategy to the same bytes, or with other choices.

Nothing is written. What the round's result depends on is in the store, named by digests, so that
anybody who may read it can hold the version against it.
"""

import hashlib
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import msgspec
import numpy as np
from msgspec import structs

from rondo_aggregator.domain.shards import split
from rondo_aggregator.handlers.inputs import inputs_of, weights_reader
from rondo_aggregator.handlers.ports import Objects
from rondo_aggregator.handlers.reading import (
    Source,
    base_layout,
    check_state,
    read_manifest,
    read_state,
)
from rondo_aggregator.strategies.registry import Strategies
from rondo_aggregator.strategies.rounds import columns_of, mix_of_round, products_of
from rondo_core.errors import Invalid, NotFound, StrategyInvalid
from rondo_core.events import Scalar
from rondo_core.keys import version_key
from rondo_core.layout import FLOAT32
from rondo_core.rows import VersionRow, from_item
from rondo_core.run_store import RunStore

__all__ = ["Choices", "Replayed", "replay_round"]

_WIDTH = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Choices:
    """What is to be other than it was; nothing for an audit.

    Attributes:
        strategy: None for the round's own.
        parameters: of it; None for the round's own where the strategy is.
        without: clients whose updates are left out.
    """

    strategy: str | None = None
    parameters: Mapping[str, Scalar] | None = None
    without: Collection[str] = ()


class Replayed(msgspec.Struct, frozen=True, kw_only=True):
    """How the round came out this time, against the version that it made.

    Attributes:
        committed: SHA-256 of the version.
        replayed: SHA-256 of what was combined now.
        same: whether the two are one.
        fresh_state: whether the strategy begins without a state, since the round's is another's.
        distance: L2 norm of the difference of the two models.
        step: L2 norm of what the round moved the model by, to hold the distance against.
        largest: the largest difference of one weight.
        where: which weight that is; "" where there is none.
        weights: client -> what it counted this time.
    """

    committed: str
    replayed: str
    same: bool
    fresh_state: bool
    distance: float
    step: float
    largest: float
    where: str
    weights: dict[str, float]


def replay_round(
    run_id: str,
    round_: int,
    choices: Choices,
    *,
    store: RunStore,
    objects: Objects,
    strategies: Strategies,
) -> Replayed:
    """Combine a round again and compare; memory is a stretch of columns.

    Raises:
        NotFound: there is no such version, it was made by no round, or an object is gone.
        Invalid: a rule refuses the round, or a client that is to be left out is not in it.
    """
    version = _version(run_id, round_, store)
    source, fresh = _source(version, choices, objects, strategies)
    inputs, strategy = inputs_of(source, objects), source.strategy
    nodes = [] if strategy.need == "nothing" else products_of(strategy, inputs, 0, inputs.columns)
    mix = mix_of_round(strategy, inputs, nodes)
    committed = weights_reader(version.sha256, source.layout, objects)
    digest, difference = hashlib.sha256(source.layout.prefix), _Difference()
    for shard in split(inputs.columns, _WIDTH):
        found = columns_of(strategy, mix, inputs, shard.start, shard.stop).weights
        digest.update(np.ascontiguousarray(found, FLOAT32).data)
        before = inputs.base(shard.start, shard.stop)
        difference.see(shard.start, found, committed(shard.start, shard.stop), before)
    sha256 = digest.hexdigest()
    return Replayed(
        committed=version.sha256,
        replayed=sha256,
        same=sha256 == version.sha256,
        fresh_state=fresh,
        distance=math.sqrt(math.fsum(difference.squares)),
        step=math.sqrt(math.fsum(difference.steps)),
        largest=difference.largest,
        where=_named(source, difference),
        weights=dict(zip(inputs.clients, mix.weights, strict=True)),
    )


class _Difference:
    """Adds up how two models differ, stretch by stretch."""

    def __init__(self) -> None:
        self.squares: list[float] = []
        self.steps: list[float] = []
        self.largest = 0.0
        self.column = 0

    def see(self, first: int, *arrays: "np.ndarray[tuple[int], np.dtype[np.float32]]") -> None:
        """Take in columns of the model that was made now, of the committed one, and of the base."""
        now, then, base = (array.astype(np.float64) for array in arrays)
        difference = np.abs(now - then)
        self.squares.append(float(np.square(difference).sum()))
        self.steps.append(float(np.square(then - base).sum()))
        column = int(difference.argmax())
        if difference[column] > self.largest:
            self.largest, self.column = float(difference[column]), first + column


def _named(source: Source, difference: _Difference) -> str:
    if not difference.largest:
        return ""
    name, position = source.layout.locate(difference.column)
    return f"{name}{list(position)}"


def _version(run_id: str, round_: int, store: RunStore) -> VersionRow:
    item = store.get(version_key(run_id, round_))
    if item is None:
        raise NotFound(f"there is no version {run_id}/{round_}")
    return from_item(item, VersionRow)


def _source(
    version: VersionRow, choices: Choices, objects: Objects, strategies: Strategies
) -> tuple[Source, bool]:
    """Read the round with what is to be other, and say whether its state had to be left."""
    if version.manifest is None:
        raise NotFound(f"{version.run_id}/{version.version} was made by no round")
    manifest = read_manifest(version.manifest, objects)
    there = {update.client_id for update in manifest.updates}
    if strange := sorted(set(choices.without) - there):
        raise Invalid(f"{strange[0]!r} has no update in this round; there are {sorted(there)}")
    name = choices.strategy or manifest.strategy
    kept = manifest.parameters if name == manifest.strategy else {}
    manifest = structs.replace(
        manifest,
        strategy=name,
        parameters=kept if choices.parameters is None else choices.parameters,
        updates=tuple(one for one in manifest.updates if one.client_id not in choices.without),
    )
    layout = base_layout(manifest.base, manifest.layout, objects)
    strategy = strategies(manifest.strategy, manifest.parameters)
    state = read_state(manifest, objects)
    try:
        check_state(state, strategy, layout)
    except StrategyInvalid:
        if choices.strategy is None:
            raise
        state = None
    fresh = state is None and manifest.optimizer_state is not None
    return Source(version.manifest, manifest, layout, strategy, state), fresh
