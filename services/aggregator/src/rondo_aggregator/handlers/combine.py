"""The task ``combine``: T5 claim, T6 where there is more than one shard, and the way to T7."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from rondo_aggregator.domain.attempt import Attempt
from rondo_aggregator.domain.result import claim, claim_change, may_claim
from rondo_aggregator.domain.shards import Shard, split
from rondo_aggregator.handlers.commit import Committed, commit_version
from rondo_aggregator.handlers.mixing import ask_for_products, write_mix
from rondo_aggregator.handlers.partials import missing_shards, noting_failure
from rondo_aggregator.handlers.ports import Jobs, Objects, Worker
from rondo_aggregator.handlers.reading import Source, round_of, source_of
from rondo_aggregator.handlers.writing import write_version
from rondo_core.bus import Publish
from rondo_core.errors import Unavailable
from rondo_core.rows import RoundRow
from rondo_core.run_store import CommitConflict, RunStore

__all__ = ["Combined", "combine_round"]

Combined = Literal["not-sealed", "claimed", "distributed"] | Committed
"""What came of it: nothing to do, another worker's, left to the tasks of its shards, or T7's."""


def combine_round(
    attempt: Attempt,
    take_over: int | None,
    *,
    worker: Worker,
    store: RunStore,
    objects: Objects,
    jobs: Jobs,
    publish: Publish,
    now: datetime,
) -> Combined:
    """Make the version of a sealed round, or ask for what is still missing for it.

    Partials are pure and create-once, so that anybody may make them at any time; the claim is for
    who has all of them and is about to commit. So a takeover never costs a finished shard.

    Raises:
        Invalid, NotFound: this round can never be combined; the ROUND row says why.
        Unavailable: a store, the broker or the bus did not answer; the sweep asks again.
    """
    round_ = round_of(attempt, store)
    if round_ is None or round_.state != "SEALED" or round_.manifest is None:
        return "not-sealed"
    if not may_claim(round_, owner=worker.name, take_over=take_over):
        return "claimed"
    with noting_failure(attempt, store):
        source = source_of(round_, round_.manifest, objects, worker.strategies)
        shards = split(source.layout.size, worker.shard_columns)
        if _ask_for_missing(attempt, source, shards, objects, jobs):
            return "distributed"
        claimed = _claim(attempt, claim(round_, owner=worker.name), store)
        if claimed is None:
            return "claimed"
        written = write_version(source, shards, objects)
    return commit_version(attempt, claimed, source, written, store=store, publish=publish, now=now)


def _ask_for_missing(
    attempt: Attempt, source: Source, shards: Sequence[Shard], objects: Objects, jobs: Jobs
) -> bool:
    """Ask for every object that does not exist; a lone shard has none, see `write_version`."""
    if len(shards) == 1:
        return False
    width = shards[0].stop
    if ask_for_products(attempt, source, width, objects, jobs):
        return True
    write_mix(source, width, objects)
    missing = list(missing_shards(source, shards, objects))
    for index in missing:
        jobs.make_partial(attempt, manifest=source.manifest_sha256, width=width, index=index)
    return bool(missing)


def _claim(attempt: Attempt, claimed: RoundRow, store: RunStore) -> RoundRow | None:
    """Write the claim and return it, or None when another worker was faster or the round ended."""
    try:
        store.commit(claim_change(attempt, claimed))
    except CommitConflict:
        return None
    except Unavailable:
        row = round_of(attempt, store)
        if row is None or (row.epoch, row.owner) != (claimed.epoch, claimed.owner):
            raise
    return claimed
