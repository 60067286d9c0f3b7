"""The objects of a round's result: the version, and the state that belongs to it."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from rondo_aggregator.domain.shards import Shard
from rondo_aggregator.handlers.inputs import inputs_of
from rondo_aggregator.handlers.mixing import mix_alone
from rondo_aggregator.handlers.partials import read_mix, shard_key
from rondo_aggregator.handlers.ports import Objects
from rondo_aggregator.handlers.reading import Source
from rondo_aggregator.strategies.cohort import Mix
from rondo_aggregator.strategies.combination import CONTROL, Strategy
from rondo_aggregator.strategies.rounds import columns_of
from rondo_core.layout import FLOAT32, Layout
from rondo_core.model_store import slot_key, state_key, weights_key
from rondo_core.optimizer_state import OptimizerState, encode_state

__all__ = ["Written", "state_after", "write_version"]


@dataclass(frozen=True, slots=True)
class Written:
    """What lies in the store and is not a row yet: digests of the version and of its state.

    Attributes:
        control: of the state's control variate, which clients are given.
    """

    sha256: str
    optimizer_state: str | None
    control: str | None = None


def write_version(source: Source, shards: Sequence[Shard], objects: Objects) -> Written:
    """Write the version's object and its state's, and return their digests.

    A lone shard needs no partial: nobody joins it, and the version itself is named by its digest,
    so that a worker that is not deterministic writes another object and not another content. Of
    several shards no more than one is in memory at a time.

    Raises:
        Invalid: nothing to combine, or a result that is not finite.
        NotFound: the base or an update is not in the store any more.
    """
    if len(shards) > 1:
        mix = None if source.strategy.need == "nothing" else read_mix(source, objects)
        slots = {
            name: _assemble(source, shards, objects, slot_key, name)
            for name in source.strategy.slots
        }
        sha256 = _assemble(source, shards, objects, weights_key)
        return Written(sha256, _write_state(source, mix, slots, objects), slots.get(CONTROL))
    mix = mix_alone(source, objects)
    columns = columns_of(source.strategy, mix, inputs_of(source, objects), 0, source.layout.size)
    arrays = zip(source.strategy.slots, columns.slots, strict=True)
    slots = {name: _put(source, array.tobytes(), objects, slot_key) for name, array in arrays}
    data = columns.weights.astype(FLOAT32, copy=False).tobytes()
    sha256 = _put(source, data, objects, weights_key)
    return Written(sha256, _write_state(source, mix, slots, objects), slots.get(CONTROL))


def state_after(
    strategy: Strategy,
    layout: Layout,
    before: OptimizerState | None,
    mix: Mix | None,
    slots: Mapping[str, str],
) -> OptimizerState:
    """Return what a strategy that keeps a state keeps of a round.

    Args:
        strategy: whose state it is.
        layout: of the model.
        before: the state of the round before.
        mix: of this round; None where it has nothing to keep.
        slots: digest of each vector after the round.
    """
    return OptimizerState(
        layout=layout.digest,
        strategy=strategy.name,
        step=1 if before is None else before.step + 1,
        scalars={} if mix is None else mix.scalars,
        slots=slots,
    )


def _write_state(
    source: Source, mix: Mix | None, slots: Mapping[str, str], objects: Objects
) -> str | None:
    if not source.strategy.stateful:
        return None
    after = state_after(source.strategy, source.layout, source.state, mix, slots)
    data, sha256 = encode_state(after)
    objects.put(state_key(sha256), data)
    return sha256


def _put(source: Source, data: bytes, objects: Objects, key: Callable[[str], str]) -> str:
    whole = source.layout.prefix + data
    sha256 = hashlib.sha256(whole).hexdigest()
    objects.put(key(sha256), whole)
    return sha256


def _assemble(
    source: Source,
    shards: Sequence[Shard],
    objects: Objects,
    key: Callable[[str], str],
    slot: str | None = None,
) -> str:
    """Assemble the partials of the version, or of one of the state's vectors."""
    prefix = source.layout.prefix
    digest = hashlib.sha256(prefix)
    for shard in shards:
        size = FLOAT32.itemsize * (shard.stop - shard.start)
        digest.update(objects.part(shard_key(source, shard, slot), 0, size))
    sha256 = digest.hexdigest()
    objects.assemble(key(sha256), prefix, [shard_key(source, one, slot) for one in shards])
    return sha256
