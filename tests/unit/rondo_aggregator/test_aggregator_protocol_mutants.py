"""Each test fails when one guard of the protocol is taken out; its name says which."""

from pathlib import Path

import numpy as np
import pytest

from rondo_core.events import UpdateAccepted, VersionCommitted
from rondo_core.keys import head_key, version_key
from rondo_core.model_store import ObjectInfo, partial_key
from rondo_core.rows import VersionRow, to_item
from rondo_core.run_store import Put, Update
from rondo_core.weights import encode
from tests.unit.rondo_aggregator.aggregator_world import World, seal_three
from tests.unit.rondo_aggregator.round_rows import ATTEMPT, CLIENTS, LAYOUT, abort


def test_mutant_gate_condition_at_t2_nothing_is_accepted_after_the_seal(world: World) -> None:
    world.open_round()
    world.submit("ada")
    world.judge("ada")
    world.submit("bob")
    world.store.before = world.seal

    world.judge("bob")

    assert (world.states["bob"], world.updates()["bob"].code) == ("REJECTED", "late")
    assert world.counted() == 1
    assert [entry.client_id for entry in world.write_manifest().updates] == ["ada"]


def test_mutant_digest_at_t2_bytes_that_were_replaced_are_not_accepted(world: World) -> None:
    world.open_round()
    world.submit("ada", state="DECLARED")
    other = encode(LAYOUT, np.full(LAYOUT.size, 9, np.float32))
    world.store.before = lambda: replace(world, other)

    world.judge("ada")

    assert world.states == {"ada": "DECLARED"}
    assert world.counted() == 0
    assert world.bus.published == []


def replace(world: World, data: bytes) -> None:
    world.submit("ada", data=data, state="DECLARED")


def test_mutant_state_at_t2_an_update_counts_once_however_many_judge_it(world: World) -> None:
    world.open_round()
    world.submit("ada")
    other = world.worker("worker-2")
    world.store.before = lambda: world.judge("ada", by=other)

    world.judge("ada")

    assert world.counted() == 1
    ids = {event.event_id for event in world.published(UpdateAccepted)}
    assert ids == {"UpdateAccepted/run-1/1/1/ada"}


def test_mutant_state_at_t2_what_was_rejected_is_not_accepted(world: World) -> None:
    world.open_round()
    world.submit("ada")
    rejected = Update(
        ATTEMPT.update_key("ada"), assign={"state": "REJECTED", "code": "x", "reason": "y"}
    )
    world.store.before = lambda: world.store.commit(rejected)

    world.judge("ada")

    assert world.states == {"ada": "REJECTED"}
    assert world.counted() == 0


def test_mutant_condition_on_a_rejection_what_counts_is_not_taken_back(world: World) -> None:
    world.open_round()
    world.submit("ada", examples=0)
    accepted = Update(ATTEMPT.update_key("ada"), assign={"state": "ACCEPTED"})
    world.store.before = lambda: world.store.commit(accepted)

    world.judge("ada")

    assert world.states == {"ada": "ACCEPTED"}
    assert world.updates()["ada"].code is None


def test_mutant_condition_on_a_rejection_a_new_declaration_is_not_rejected(world: World) -> None:
    world.open_round()
    world.submit("ada", examples=0, state="DECLARED")
    other = encode(LAYOUT, np.ones(LAYOUT.size, np.float32))
    world.store.before = lambda: replace(world, other)

    world.judge("ada")

    assert world.states == {"ada": "DECLARED"}
    assert world.bus.published == []


def commit_by_a_zombie(world: World, meanwhile: Update) -> None:
    """Let a worker claim and then sleep while others go on; it wakes up and commits."""

    def at_the_claim() -> None:
        world.store.before = lambda: world.store.commit(meanwhile)

    world.store.before = at_the_claim
    world.combine()


def test_mutant_epoch_at_t7_a_claim_that_was_taken_over_commits_nothing(world: World) -> None:
    seal_three(world)

    commit_by_a_zombie(world, Update(ATTEMPT.key, assign={"owner": "worker-2", "epoch": 2}))

    assert (world.round().state, world.round().epoch) == ("SEALED", 2)
    assert (world.head, world.version()) == (0, None)
    assert world.published(VersionCommitted) == []
    assert world.store.query("OUTBOX#aggregator") == []


def test_mutant_sealed_at_t7_an_aborted_attempt_commits_nothing(world: World) -> None:
    seal_three(world)

    commit_by_a_zombie(world, Update(ATTEMPT.key, assign={"state": "ABORTED"}))

    assert world.round().state == "ABORTED"
    assert (world.head, world.version()) == (0, None)


def test_mutant_sealed_at_t5_an_aborted_attempt_is_not_claimed(world: World) -> None:
    seal_three(world)
    world.store.before = lambda: abort(world.store, epoch=0)

    world.combine()

    assert (world.round().state, world.round().epoch) == ("ABORTED", 0)


def test_mutant_head_is_base_at_t7_no_version_follows_another_than_its_base(world: World) -> None:
    seal_three(world)
    world.store.commit(Update(head_key("run-1"), assign={"version": 4}))

    world.combine()

    assert (world.round().state, world.head, world.version()) == ("SEALED", 4, None)


def test_mutant_version_if_absent_at_t7_a_version_is_never_written_over(world: World) -> None:
    seal_three(world)
    first = VersionRow(
        run_id="run-1",
        version=1,
        sha256="a" * 64,
        layout=LAYOUT.digest,
        size=1,
        committed_at=world.clock.now(),
    )
    world.store.commit(Put(version_key("run-1", 1), to_item(first)))

    world.combine()

    assert world.version() == first
    assert (world.round().state, world.head) == ("SEALED", 0)


def test_mutant_round_and_head_in_two_writes_round_version_and_head_move_in_one_commit(
    world: World,
) -> None:
    seal_three(world)
    world.store.commits.clear()

    world.combine()

    keys = [{change.key.sk for change in changes} for changes in world.store.commits]
    together = {ATTEMPT.key.sk, "HEAD", "VERSION#000001", "VersionCommitted/run-1/1/1"}
    assert together in keys
    assert sum("HEAD" in one for one in keys) == 1


def test_mutant_create_once_on_partials_the_first_bytes_of_a_partial_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path, shard_columns=4)
    seal_three(world)
    world.combine()
    first_task, *_ = world.asked()
    key = partial_key(str(world.round().manifest), 0, 4)
    first_bytes = np.full(4, 7, np.float32).tobytes()
    head = world.models.head

    def blind(name: str) -> ObjectInfo | None:
        """Both workers looked before either of them wrote."""
        if name == key and world.models.head(name) is None:
            world.models.put(key, first_bytes)
            return None
        return head(name)

    monkeypatch.setattr(world.ports.objects, "head", blind)

    world.run(first_task)

    assert world.models.get(key) == first_bytes
    assert world.count("rondo_loop_failures_total", kind="partial", outcome="error") == 1

    monkeypatch.undo()
    world.jobs.combine(ATTEMPT)
    world.run_tasks()

    assert world.weights()[:4].tolist() == [7.0] * 4
    assert len(CLIENTS) == world.counted()
