"""The task ``partial`` (T6): one shard's columns of the next version, and the join."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

from rondo_aggregator.domain.attempt import Attempt
from rondo_aggregator.domain.result import failure_change, lease_change
from rondo_aggregator.domain.shards import Shard, split
from rondo_aggregator.handlers.inputs import inputs_of
from rondo_aggregator.handlers.ports import Jobs, Objects
from rondo_aggregator.handlers.reading import Source, round_of, source_of
from rondo_aggregator.strategies.cohort import Mix, decode_mix
from rondo_aggregator.strategies.inputs import Inputs
from rondo_aggregator.strategies.registry import Strategies
from rondo_aggregator.strategies.rounds import columns_of, mix_of_round
from rondo_core.errors import Invalid, NotFound, Unavailable
from rondo_core.layout import FLOAT32
from rondo_core.model_store import mix_key, partial_key
from rondo_core.run_store import CommitConflict, RunStore

__all__ = [
    "make_partial",
    "missing_shards",
    "move_lease",
    "noting_failure",
    "read_mix",
    "sealed_source",
    "shard_key",
    "write_partial",
]

log = logging.getLogger(__name__)


def make_partial(
    attempt: Attempt,
    manifest: str,
    *,
    width: int,
    index: int,
    store: RunStore,
    objects: Objects,
    jobs: Jobs,
    strategies: Strategies,
) -> Literal["not-sealed", "partial", "joined"]:
    """Write one partial, create-once, and ask for the commit when it was the last one missing.

    Args:
        attempt: which.
        manifest: its SHA-256; another one than the round's means that the task is out of date.
        width: columns of a shard of this split.
        index: which of its shards.
        store: the table.
        objects: the bucket.
        jobs: asks for the commit.
        strategies: finds the manifest's strategy.

    Raises:
        Conflict: the partial exists with other bytes, so a worker was wrong; the first stays.
        Invalid, NotFound: this round can never be combined; the ROUND row says why.
        Unavailable: no answer; the sweep asks again.
    """
    with noting_failure(attempt, store):
        source = sealed_source(attempt, manifest, store, objects, strategies)
        if source is None:
            return "not-sealed"
        shards = split(source.layout.size, width)
        if objects.head(shard_key(source, shards[index])) is None:
            write_partial(source, shards[index], objects)
    move_lease(attempt, store=store)
    if next(missing_shards(source, shards, objects, first=index + 1), None) is not None:
        return "partial"
    jobs.combine(attempt)
    return "joined"


def sealed_source(
    attempt: Attempt, manifest: str, store: RunStore, objects: Objects, strategies: Strategies
) -> Source | None:
    """Read what a sealed round is made of, or None when it is not sealed with this manifest."""
    round_ = round_of(attempt, store)
    if round_ is None or round_.state != "SEALED" or round_.manifest != manifest:
        return None
    return source_of(round_, manifest, objects, strategies)


def write_partial(source: Source, shard: Shard, objects: Objects) -> None:
    """Write a shard's columns; those of the state come first, so that the last one means all.

    Raises:
        Unavailable: what each client counts is not decided yet.
    """
    inputs = inputs_of(source, objects)
    mix = _decided(source, inputs, objects)
    columns = columns_of(source.strategy, mix, inputs, shard.start, shard.stop)
    for name, slot in zip(source.strategy.slots, columns.slots, strict=True):
        objects.put(shard_key(source, shard, name), slot.astype(FLOAT32, copy=False).tobytes())
    objects.put(shard_key(source, shard), columns.weights.astype(FLOAT32, copy=False).tobytes())


def _decided(source: Source, inputs: Inputs, objects: Objects) -> Mix:
    if source.strategy.need == "nothing":
        return mix_of_round(source.strategy, inputs, [])
    return read_mix(source, objects)


def read_mix(source: Source, objects: Objects) -> Mix:
    """Read what each client counts.

    Raises:
        Unavailable: it is not decided yet.
    """
    key = mix_key(source.manifest_sha256)
    info = objects.head(key)
    if info is None:
        raise Unavailable(f"{key} is not there yet")
    return decode_mix(objects.part(key, 0, info.size))


def shard_key(source: Source, shard: Shard, slot: str | None = None) -> str:
    """Name a shard's partial, or that of one of the state's vectors."""
    return partial_key(source.manifest_sha256, shard.start, shard.stop, slot)


def missing_shards(
    source: Source, shards: Sequence[Shard], objects: Objects, *, first: int = 0
) -> Iterator[int]:
    """Yield the indices of the partials that do not exist, lazily, beginning at ``first``.

    The shard after the one that was just made is the likeliest to be missing, so that the join asks
    the store once a shard and not once for every pair of shards.
    """
    for index in range(first, first + len(shards)):
        if objects.head(shard_key(source, shards[index % len(shards)])) is None:
            yield index % len(shards)


def move_lease(attempt: Attempt, *, store: RunStore) -> None:
    """Show that somebody works on the round, unless it is over."""
    try:
        store.commit(lease_change(attempt))
    except CommitConflict:
        log.info("round ended meanwhile", extra={"run_id": attempt.run_id, "round": attempt.round})


@contextmanager
def noting_failure(attempt: Attempt, store: RunStore) -> Iterator[None]:
    """Note in the ROUND row why it can never be combined, when that is found out, and raise on.

    The aggregator aborts nothing: the dispatcher does, on this note.
    """
    try:
        yield
    except (Invalid, NotFound) as exc:
        try:
            store.commit(failure_change(attempt, f"cannot be combined: {exc}"))
        except CommitConflict:
            log.info("failure was known", extra={"run_id": attempt.run_id, "round": attempt.round})
        raise
