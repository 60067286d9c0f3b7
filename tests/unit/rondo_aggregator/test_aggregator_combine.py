"""From a sealed round to its version: claim, partials, join, commit, and what may go wrong."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from rondo_aggregator.domain.result import failure_change
from rondo_core.errors import Unavailable
from rondo_core.events import VersionCommitted
from rondo_core.keys import head_key
from rondo_core.layout import Float32Array, Layout, TensorSpec
from rondo_core.manifest import Manifest
from rondo_core.model_store import MIN_PART_BYTES, manifest_key, partial_key, weights_key
from rondo_core.run_store import Delete, Update
from rondo_core.weights import decode
from tests.unit.rondo_aggregator.aggregator_world import World, seal_three
from tests.unit.rondo_aggregator.round_rows import ATTEMPT, CLIENTS, LAYOUT


def recomputed(world: World, manifest: Manifest) -> Float32Array:
    """Work the round out again from the raw uploads, in plain NumPy."""
    total, weight = np.zeros(world.layout.size, np.float64), 0
    for entry in manifest.updates:
        delta = decode(world.models.get(entry.key), world.layout)
        total += np.float64(entry.examples) * delta.astype(np.float64)
        weight += entry.examples
    return (world.base.astype(np.float64) + total / weight).astype(np.float32)


def test_a_sealed_round_becomes_the_next_version(world: World) -> None:
    manifest = seal_three(world)

    world.combine()

    row, version = world.round(), world.version()
    assert version is not None
    assert (row.state, row.result, row.owner) == ("COMMITTED", version.sha256, None)
    assert row.ended_at == world.clock.now()
    assert world.head == 1
    assert world.weights().tobytes() == recomputed(world, manifest).tobytes()
    assert (version.parent, version.manifest) == (0, row.manifest)
    assert (version.updates, version.examples) == (3, 30)
    assert version.size == LAYOUT.size_bytes
    assert world.count("rondo_versions_committed_total") == 1


def test_the_commit_is_published_and_leaves_the_outbox(world: World) -> None:
    seal_three(world)

    world.combine()

    (event,) = world.published(VersionCommitted)
    assert event.event_id == "VersionCommitted/run-1/1/1"
    assert (event.version, event.sha256) == (1, world.round().result)
    assert world.store.query("OUTBOX#aggregator") == []


def test_the_clients_metrics_become_the_versions_by_their_held_out_examples(world: World) -> None:
    world.open_round()
    world.submit("ada", metrics={"examples": 30, "accuracy": 0.5})
    world.submit("bob", metrics={"examples": 10, "accuracy": 0.9})
    world.submit("cyd", metrics={"examples": 1000, "accuracy": 0.0}, examples=0)
    world.judge(*CLIENTS)
    world.seal()
    world.write_manifest()

    world.combine()

    version = world.version()
    assert version is not None
    assert version.metrics == {"accuracy": pytest.approx(0.6), "examples": 40}


@pytest.mark.parametrize("shards", [1, 2, 7])
@pytest.mark.parametrize("order", [CLIENTS, CLIENTS[::-1]])
def test_any_number_of_shards_and_any_order_of_arrival_make_the_same_version(
    tmp_path: Path, shards: int, order: tuple[str, ...]
) -> None:
    world = World(tmp_path, shard_columns=-(-LAYOUT.size // shards))
    rng = np.random.default_rng(5)
    deltas = {client: rng.normal(size=LAYOUT.size).astype(np.float32) for client in CLIENTS}
    world.open_round(base=np.linspace(-1, 1, LAYOUT.size, dtype=np.float32))
    for number, client in enumerate(order):
        world.submit(client, deltas[client], examples=1 + ord(client[0]), metrics={})
        if number:
            world.judge(*order[: number + 1])
    world.seal()
    manifest = world.write_manifest()

    world.jobs.combine(ATTEMPT)
    world.run_tasks()

    assert world.round().state == "COMMITTED"
    assert world.weights().tobytes() == recomputed(world, manifest).tobytes()


def test_a_worker_that_validated_the_updates_does_not_read_them_again(world: World) -> None:
    manifest = seal_three(world)

    world.combine()

    reads = [world.models.reads.count(entry.key) for entry in manifest.updates]
    assert reads == [1, 1, 1]


def test_another_worker_reads_what_it_never_saw_and_makes_the_same_version(
    world: World,
) -> None:
    manifest = seal_three(world)

    world.combine(by=world.worker("worker-2"))

    assert world.weights().tobytes() == recomputed(world, manifest).tobytes()


def test_the_next_rounds_base_is_at_hand_where_the_version_was_made(world: World) -> None:
    seal_three(world)
    world.combine()
    version = world.version()
    assert version is not None
    world.models.reads.clear()

    data = world.ports.objects.whole(weights_key(version.sha256), size=version.size)

    assert hashlib.sha256(data).hexdigest() == version.sha256
    assert world.models.reads == []


def test_several_shards_are_tasks_of_their_own_and_the_last_asks_for_the_commit(
    tmp_path: Path,
) -> None:
    world = World(tmp_path, shard_columns=3)
    manifest = seal_three(world)
    world.combine()

    assert world.round().epoch == 0
    assert world.run_tasks() == ["rondo.partial"] * 3 + ["rondo.combine"]
    assert (world.round().state, world.round().epoch) == ("COMMITTED", 1)
    assert world.weights().tobytes() == recomputed(world, manifest).tobytes()


def test_shards_that_are_large_enough_are_assembled_inside_the_store(tmp_path: Path) -> None:
    columns = MIN_PART_BYTES // 4
    layout = Layout((TensorSpec("dense/kernel", (2 * columns + 5,)),))
    world = World(tmp_path, layout=layout, shard_columns=columns)
    world.open_round()
    world.submit("ada", np.full(layout.size, 2, np.float32))
    world.judge("ada")
    world.seal()
    world.write_manifest()
    world.jobs.combine(ATTEMPT)

    assert world.run_tasks().count("rondo.partial") == 3

    version = world.version()
    assert version is not None
    info = world.models.head(weights_key(version.sha256))
    assert info is not None
    assert (info.size, info.sha256) == (layout.size_bytes, None)
    assert set(world.weights().tolist()) == {2.0}


def test_a_partial_moves_the_lease_so_that_progress_shows(tmp_path: Path) -> None:
    world = World(tmp_path, shard_columns=3)
    seal_three(world)
    world.combine()
    (first, *_) = world.asked()

    world.run(first)

    assert world.round().lease == 1


def test_a_partial_that_exists_is_not_computed_again(tmp_path: Path) -> None:
    world = World(tmp_path, shard_columns=3)
    seal_three(world)
    world.combine()
    (first, *_) = world.asked()
    world.run(first)
    world.models.reads.clear()

    world.run(first)

    assert not [key for key in world.models.reads if key.startswith("updates/")]


def test_only_missing_partials_are_asked_for(tmp_path: Path) -> None:
    world = World(tmp_path, shard_columns=3)
    seal_three(world)
    world.combine()
    (first, *_) = world.asked()
    world.run(first)

    world.combine()

    assert [task.arguments["index"] for task in world.asked()] == [1, 2]


def test_a_partial_of_an_old_manifest_or_of_a_round_that_is_over_is_nothing_to_do(
    tmp_path: Path,
) -> None:
    world = World(tmp_path, shard_columns=3)
    seal_three(world)
    world.combine()
    (first, *_) = world.asked()
    first.arguments["manifest"] = "f" * 64

    world.run(first)

    assert world.models.head(partial_key("f" * 64, 0, 3)) is None
    assert world.asked() == []


@pytest.mark.parametrize("state", ["OPEN", "COMMITTED", "ABORTED"])
def test_a_round_that_is_not_sealed_is_not_combined(world: World, state: str) -> None:
    seal_three(world)
    world.store.commit(Update(ATTEMPT.key, assign={"state": state}))

    world.combine()

    assert (world.round().epoch, world.head) == (0, 0)


def test_a_sealed_round_without_a_manifest_is_not_combined(world: World) -> None:
    world.open_round()
    world.seal()

    world.combine()

    assert world.round().epoch == 0


def test_a_round_that_does_not_exist_is_nothing_to_do(world: World) -> None:
    world.combine()

    assert world.count("rondo_loop_failures_total", kind="combine", outcome="error") == 0
    assert world.bus.published == []


def test_a_round_that_another_worker_has_claimed_is_left_to_it(world: World) -> None:
    seal_three(world)
    world.store.commit(Update(ATTEMPT.key, assign={"owner": "worker-2", "epoch": 1}))

    world.combine()

    assert (world.round().state, world.round().epoch) == ("SEALED", 1)


def test_a_claim_whose_lease_was_seen_to_expire_is_taken_over(world: World) -> None:
    seal_three(world)
    world.store.commit(Update(ATTEMPT.key, assign={"owner": "worker-2", "epoch": 1}))

    world.combine(take_over=1)

    assert (world.round().state, world.round().epoch) == ("COMMITTED", 2)


def test_a_takeover_that_comes_too_late_takes_nothing_over(world: World) -> None:
    seal_three(world)
    world.store.commit(Update(ATTEMPT.key, assign={"owner": "worker-2", "epoch": 2}))

    world.combine(take_over=1)

    assert (world.round().state, world.round().epoch) == ("SEALED", 2)


def test_a_worker_goes_on_with_what_it_claimed_itself(world: World) -> None:
    seal_three(world)
    world.store.commit(Update(ATTEMPT.key, assign={"owner": "worker-1", "epoch": 1}))

    world.combine()

    assert world.round().state == "COMMITTED"


def test_of_two_workers_that_claim_at_once_one_gives_way(world: World) -> None:
    seal_three(world)
    faster = Update(ATTEMPT.key, assign={"owner": "worker-2", "epoch": 1})
    world.store.before = lambda: world.store.commit(faster)

    world.combine()

    assert (world.round().owner, world.round().epoch) == ("worker-2", 1)
    assert world.head == 0


def test_an_unanswered_claim_that_was_made_is_found_by_reading_back(world: World) -> None:
    seal_three(world)
    world.store.lost = 1

    world.combine()

    assert (world.round().state, world.round().epoch) == ("COMMITTED", 1)


def test_an_unanswered_claim_that_was_not_made_is_left_to_the_sweep(world: World) -> None:
    seal_three(world)
    world.store.refused = 1

    world.combine()

    assert (world.round().state, world.round().epoch) == ("SEALED", 0)


def lose_answer_of_the_second_commit(world: World, *, made: bool) -> None:
    """The first commit is the claim, the second T7."""

    def at_the_claim() -> None:
        world.store.before = at_the_commit

    def at_the_commit() -> None:
        if made:
            world.store.lost = 1
        else:
            world.store.refused = 1

    world.store.before = at_the_claim


def test_an_unanswered_commit_that_was_made_is_published(world: World) -> None:
    seal_three(world)
    lose_answer_of_the_second_commit(world, made=True)

    world.combine()

    assert world.round().state == "COMMITTED"
    assert len(world.published(VersionCommitted)) == 1


def test_an_unanswered_commit_that_was_not_made_is_left_to_the_sweep(world: World) -> None:
    seal_three(world)
    lose_answer_of_the_second_commit(world, made=False)

    world.combine()

    assert (world.round().state, world.head) == ("SEALED", 0)
    assert world.published(VersionCommitted) == []

    world.combine()

    assert (world.round().state, world.head) == ("COMMITTED", 1)


def test_a_commit_that_cannot_be_published_stays_in_the_outbox(world: World) -> None:
    seal_three(world)

    def refuse(*_: object) -> None:
        raise Unavailable("no bus")

    broken = world.worker("worker-2", publish=refuse)

    world.combine(by=broken)

    assert world.round().state == "COMMITTED"
    assert len(world.store.query("OUTBOX#aggregator")) == 1


def test_a_round_that_can_never_be_combined_says_why_in_its_row(world: World) -> None:
    world.open_round(base=np.full(LAYOUT.size, 3e38, np.float32))
    world.submit("ada", np.full(LAYOUT.size, 3e38, np.float32))
    world.judge("ada")
    world.seal()
    world.write_manifest()

    world.combine()

    row = world.round()
    assert (row.state, world.head) == ("SEALED", 0)
    assert row.reason == "cannot be combined: column 0 of the result is inf"
    assert world.count("rondo_loop_failures_total", kind="combine", outcome="error") == 1


def test_the_first_reason_why_a_round_cannot_be_combined_stays(world: World) -> None:
    seal_three(world)
    world.store.commit(
        Update(ATTEMPT.key, assign={"reason": "the first", "manifest": "f" * 64}),
    )

    world.combine()

    assert world.round().reason == "the first"


def test_a_manifest_that_is_not_what_its_name_says_is_refused(world: World) -> None:
    seal_three(world)
    world.models.put(manifest_key("f" * 64), b"{}")
    world.store.commit(Update(ATTEMPT.key, assign={"manifest": "f" * 64}))

    world.combine()

    assert str(world.round().reason).startswith(
        f"cannot be combined: manifest {'f' * 64} has the digest"
    )


def test_a_reason_that_is_long_is_cut_so_that_a_row_can_hold_it() -> None:
    (told,) = [
        change.assign["reason"]
        for change in (failure_change(ATTEMPT, "x" * 500_000),)
        if isinstance(change, Update)
    ]

    assert told == "x" * 1000 + "…"


def test_an_update_that_vanished_from_the_store_is_a_reason(world: World) -> None:
    manifest = seal_three(world)
    world.models._objects.pop(manifest.updates[0].key)  # noqa: SLF001 - what a life-cycle rule does

    world.combine(by=world.worker("worker-2"))

    assert f"object {manifest.updates[0].key}" in str(world.round().reason)


def test_a_lost_head_is_not_made_up(world: World) -> None:
    seal_three(world)
    world.store.commit(Delete(head_key("run-1")))

    world.combine()

    assert (world.round().state, world.version()) == ("SEALED", None)


def test_a_commit_that_others_are_in_the_way_of_is_tried_again(world: World) -> None:
    seal_three(world)

    def at_the_claim() -> None:
        world.store.before = at_the_commit

    def at_the_commit() -> None:
        # Another transaction on one of the rows cancels ours, as DynamoDB may do it.
        world.store.commit(Update(head_key("run-1"), assign={"version": 7}))
        world.store.before = put_back

    def put_back() -> None:
        world.store.commit(Update(head_key("run-1"), assign={"version": 0}))

    world.store.before = at_the_claim

    world.combine()

    assert (world.round().state, world.head) == ("COMMITTED", 1)
