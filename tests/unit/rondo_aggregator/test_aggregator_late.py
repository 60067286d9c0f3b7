"""FedBuff: what was reported when its round was sealed goes on, and counts once, with its age."""

import numpy as np
import pytest
from msgspec import structs

from rondo_aggregator.domain.attempt import Attempt
from rondo_aggregator.tasks import run_combine, run_validate
from rondo_core.events import Scalar, UpdateAccepted, UpdateRejected
from rondo_core.keys import GATES, gate_key, head_key, run_key
from rondo_core.manifest import Manifest, ManifestEntry, encode_manifest
from rondo_core.model_store import manifest_key
from rondo_core.rows import GateRow, HeadRow, RunRow, UpdateRow, from_item, to_item
from rondo_core.run_store import Put, Update
from tests.unit.rondo_aggregator.aggregator_world import World
from tests.unit.rondo_aggregator.round_rows import ATTEMPT, LAYOUT

SECOND = Attempt("run-1", 2, 1)


@pytest.fixture
def buffered(world: World) -> World:
    """Round 1 of a FedBuff run is sealed, and ada's update was reported and not judged."""
    world.open_round()
    run = RunRow(
        run_id="run-1",
        model="digits",
        spec="5" * 64,
        layout=world.layout.digest,
        strategy="fedbuff",
        rounds=3,
        target=3,
        quorum=1,
        deadline_seconds=9,
        start_deadline_seconds=9,
        state="RUNNING",
        requested_at=world.clock.now(),
    )
    world.store.commit(
        Put(run_key("run-1"), to_item(run)),
        Update(ATTEMPT.key, assign={"strategy": "fedbuff"}),
    )
    world.submit("ada", np.ones(LAYOUT.size, np.float32), metrics={"examples": 1, "loss": 9.0})
    world.seal()
    return world


def second_round(world: World, **parameters: Scalar) -> None:
    """Commit the first round, and open the next one for others than ada."""
    first = world.round()
    row = structs.replace(
        first,
        round=2,
        base=1,
        state="OPEN",
        clients=("bob",),
        parameters=parameters,
        active="round",
    )
    world.store.commit(
        Update(ATTEMPT.key, assign={"state": "COMMITTED"}),
        Put(head_key("run-1"), to_item(HeadRow(version=1))),
        Put(SECOND.key, to_item(row)),
        *(
            Put(gate_key("run-1", 2, 1, gate), to_item(GateRow(state="OPEN")))
            for gate in range(GATES)
        ),
    )


def ada(world: World, attempt: Attempt = SECOND) -> UpdateRow:
    return from_item(world.store.get(attempt.update_key("ada")) or {}, UpdateRow)


def test_a_late_update_waits_while_no_round_has_begun(buffered: World) -> None:
    buffered.judge("ada")

    assert buffered.states == {"ada": "REPORTED"}
    assert buffered.bus.published == []


def test_a_late_update_goes_on_to_the_open_round_and_is_validated_there(buffered: World) -> None:
    second_round(buffered)

    buffered.judge("ada")
    assert buffered.run_tasks() == ["rondo.validate"]

    assert buffered.states == {"ada": "MOVED"}
    row = ada(buffered)
    assert (row.state, row.origin, row.staleness) == ("ACCEPTED", (1, 1), 1)
    assert [(event.round, event.client_id) for event in buffered.published(UpdateAccepted)] == [
        (2, "ada")
    ]


def test_the_sweep_takes_a_late_update_on_when_the_next_round_has_begun(buffered: World) -> None:
    sweep = buffered.sweeper()
    for _ in range(20):  # so long that it is asked for but seldom
        sweep()
        buffered.run_tasks()
        buffered.clock.advance(3)
    second_round(buffered)

    for _ in range(2):
        sweep()
        buffered.clock.advance(3)
    sweep()
    buffered.run_tasks()

    assert ada(buffered).state == "ACCEPTED"


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_late_update_is_checked_like_any_other(buffered: World, value: float) -> None:
    buffered.submit("ada", np.full(LAYOUT.size, value, np.float32))
    second_round(buffered)

    buffered.judge("ada")
    buffered.run_tasks()

    assert (ada(buffered).state, ada(buffered).code) == ("REJECTED", "not-finite")


def test_a_late_update_that_is_told_of_twice_counts_once(buffered: World) -> None:
    second_round(buffered)
    for _ in range(2):
        buffered.judge("ada")
        run_validate(SECOND, ["ada"], buffered.ports)
    buffered.run_tasks()

    gates = [buffered.store.get(gate_key("run-1", 2, 1, gate)) or {} for gate in range(GATES)]
    assert sum(from_item(gate, GateRow).n for gate in gates) == 1


def test_mutant_an_update_that_meets_its_seal_is_not_rejected_but_goes_on(world: World) -> None:
    world.open_round()
    world.store.commit(Update(ATTEMPT.key, assign={"strategy": "fedbuff"}))
    world.submit("ada")
    world.store.before = world.seal

    world.judge("ada")

    assert world.states == {"ada": "REPORTED"}
    assert world.counted() == 0


def test_a_late_update_that_is_too_stale_is_rejected_and_both_numbers_are_named(
    buffered: World,
) -> None:
    second_round(buffered, max_staleness=0)

    buffered.judge("ada")

    row = buffered.updates()["ada"]
    assert (row.state, row.code) == ("REJECTED", "late")
    assert "staleness 1 is more than max_staleness 0" in (row.reason or "")
    assert [event.code for event in buffered.published(UpdateRejected)] == ["late"]


def test_a_late_update_of_a_run_that_is_over_is_rejected(buffered: World) -> None:
    buffered.store.commit(Update(run_key("run-1"), assign={"state": "FAILED"}))

    buffered.judge("ada")

    row = buffered.updates()["ada"]
    assert (row.state, row.code) == ("REJECTED", "late")
    assert row.reason == "run run-1 is FAILED and takes no more updates"


def test_a_late_update_does_not_take_the_place_of_the_clients_own(buffered: World) -> None:
    second_round(buffered)
    own = structs.replace(buffered.updates()["ada"], sha256="c" * 64, state="ACCEPTED")
    buffered.store.commit(Put(SECOND.update_key("ada"), to_item(own)))

    buffered.judge("ada")

    assert buffered.updates()["ada"].reason == "round 2 has another update of ada"
    assert ada(buffered) == own


def test_an_update_stays_when_the_place_is_sealed_while_it_moves(buffered: World) -> None:
    second_round(buffered)
    sealed = Update(SECOND.key, assign={"state": "SEALED"})
    buffered.store.before = lambda: buffered.store.commit(sealed)

    buffered.judge("ada")

    assert buffered.states == {"ada": "REPORTED"}
    assert buffered.store.get(SECOND.update_key("ada")) is None


def test_a_round_divides_by_k_and_discounts_and_its_curve_leaves_the_stale_update_out(
    buffered: World,
) -> None:
    second_round(buffered)
    buffered.judge("ada")
    buffered.run_tasks()
    young = structs.replace(ada(buffered), client_id="bob", origin=None, staleness=0)
    young = structs.replace(young, metrics={"examples": 1.0, "loss": 2.0})
    buffered.store.commit(Put(SECOND.update_key("bob"), to_item(young)))
    seal_second(buffered, ada(buffered), young)

    run_combine(SECOND, None, buffered.ports)

    version = buffered.version(2)
    assert version is not None
    expected = np.float32((1 + 1 / np.sqrt(2.0)) / 2)
    np.testing.assert_array_equal(buffered.weights(2), np.full(LAYOUT.size, expected))
    assert version.metrics == {"examples": 1.0, "loss": 2.0}
    assert (version.updates, version.examples) == (2, 20)


def seal_second(world: World, *rows: UpdateRow) -> None:
    manifest = Manifest(
        run_id="run-1",
        round=2,
        attempt=1,
        base=world.round().base_sha256,
        layout=world.layout.digest,
        strategy="fedbuff",
        updates=tuple(
            ManifestEntry(
                client_id=row.client_id,
                sha256=row.sha256,
                examples=row.examples,
                key=row.key,
                object_version=row.object_version or "",
                staleness=row.staleness,
            )
            for row in rows
        ),
    )
    data, digest = encode_manifest(manifest)
    world.models.put(manifest_key(digest), data)
    world.store.commit(Update(SECOND.key, assign={"state": "SEALED", "manifest": digest}))
