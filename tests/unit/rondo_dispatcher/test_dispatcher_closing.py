"""T3 and T4: when an attempt is sealed, and what its manifest holds."""

import hashlib

import pytest
from msgspec import structs

from rondo_core.errors import NotFound, Unavailable
from rondo_core.events import RoundAborted, RoundSealed, UpdateAccepted
from rondo_core.keys import gate_key, gate_of, round_key
from rondo_core.manifest import Manifest, ManifestEntry, decode_manifest, encode_manifest
from rondo_core.model_store import manifest_key
from rondo_core.run_store import Update
from rondo_dispatcher.domain.attempts import read_attempt
from rondo_dispatcher.domain.closing import Seal, close, manifest_of
from tests.unit.rondo_dispatcher import stand_ins
from tests.unit.rondo_dispatcher.world import RUN, START, World


def test_the_last_wanted_update_seals_the_round(world: World) -> None:
    world.begin("ann", "bob", "eve", target=2)
    first, second = world.row().clients
    world.hear(*world.accept(first))
    assert world.row().state == "OPEN"

    world.hear(*world.accept(second))

    row = world.row()
    assert (row.state, row.sealed_at, row.epoch, row.updates) == ("SEALED", START, 0, 2)
    assert world.gates() == {"SEALED"}
    (event,) = world.published(RoundSealed)
    assert (event.event_id, event.manifest, event.updates) == (
        f"RoundSealed/{RUN}/1/1",
        row.manifest,
        2,
    )
    assert stand_ins.outbox_is_empty(world.store)


def test_the_manifest_holds_all_that_the_result_depends_on_sorted_by_client(world: World) -> None:
    world.begin("eve", "ann", "bob", target=3)
    world.store.commit(
        Update(
            round_key(RUN, 1, 1),
            assign={"optimizer_state": "0" * 64, "parameters": {"beta": 0.9}},
        )
    )

    world.hear(*world.accept("eve", "ann", "bob"))

    row = world.row()
    data = world.models.get(manifest_key(row.manifest or ""))
    assert hashlib.sha256(data).hexdigest() == row.manifest
    assert decode_manifest(data) == Manifest(
        run_id=RUN,
        round=1,
        attempt=1,
        base=row.base_sha256,
        layout=stand_ins.LAYOUT,
        strategy="fedavg",
        parameters={"beta": 0.9},
        updates=tuple(
            ManifestEntry(
                client_id=client,
                sha256=stand_ins.sha256(f"{(RUN, 1, 1)}/{client}"),
                examples=10,
                key=f"updates/{client}/{stand_ins.sha256(f'{(RUN, 1, 1)}/{client}')}",
                object_version=f"version of {client}",
                steps=7.5,
            )
            for client in ("ann", "bob", "eve")
        ),
        optimizer_state="0" * 64,
    )


def test_below_the_quorum_the_round_waits_for_its_deadline_and_is_then_aborted(
    world: World,
) -> None:
    world.begin("ann", "bob", "eve", target=3, quorum=2)
    world.hear(*world.accept("ann"))
    world.clock.advance(99.9)
    world.sweep()
    assert world.row().state == "OPEN"

    world.clock.advance(0.1)
    world.sweep()

    row = world.row()
    assert (row.state, row.epoch, row.ended_at) == ("ABORTED", 1, world.now)
    assert row.reason == (
        "not enough updates: 1 of 3 clients' were accepted when the deadline passed,"
        " and the quorum is 2"
    )
    assert world.gates() == {"CLOSED"}
    assert [event.reason for event in world.published(RoundAborted)] == [row.reason]


def test_with_a_quorum_the_round_is_sealed_at_its_deadline(world: World) -> None:
    world.begin("ann", "bob", "eve", target=3, quorum=2)
    world.hear(*world.accept("ann", "bob"))
    world.sweep()
    assert world.row().state == "OPEN"

    world.clock.advance(100)
    world.sweep()

    assert world.row().state == "SEALED"
    assert [event.updates for event in world.published(RoundSealed)] == [2]


def test_the_round_is_sealed_early_when_every_chosen_client_has_its_verdict(world: World) -> None:
    world.begin("ann", "bob", "eve", target=3, quorum=2)

    world.hear(*world.accept("ann", "bob"), *world.reject("eve"))

    assert world.row().state == "SEALED"


def test_the_round_is_aborted_early_when_every_verdict_leaves_it_below_the_quorum(
    world: World,
) -> None:
    world.begin("ann", "bob", "eve", target=3, quorum=2)

    world.hear(*world.accept("ann"), *world.reject("bob", "eve"))

    assert world.row().state == "ABORTED"
    assert "1 of 3 clients' were accepted when every update had its verdict" in (
        world.row().reason or ""
    )


def test_a_round_that_opened_with_a_quorum_is_sealed_when_all_of_these_are_accepted(
    world: World,
) -> None:
    world.begin("ann", "bob", target=5, quorum=2)
    world.clock.advance(50)
    world.sweep()

    world.hear(*world.accept("ann", "bob"))

    assert world.row().state == "SEALED"


def test_target_accepted_updates_seal_a_round_that_chose_more_clients(world: World) -> None:
    world.begin("ann", "bob", "eve", target=3)
    world.accept("ann", "bob")
    row = structs.replace(world.row(), target=2)

    attempt = read_attempt(row, world.store.query(f"RUN#{RUN}#ROUND#000001#01"))

    assert attempt.unjudged
    assert close(attempt, now=START) == Seal()


def test_a_reported_update_keeps_an_early_end_waiting(world: World) -> None:
    world.begin("ann", "bob", target=2, quorum=1)
    stand_ins.report(world.store, (RUN, 1, 1), "bob", now=START)

    world.hear(*world.accept("ann"))

    assert world.row().state == "OPEN"


def test_hints_that_were_lost_are_found_by_the_sweep(world: World) -> None:
    world.begin("ann", "bob")
    world.accept("ann", "bob")

    world.sweep()

    assert world.row().state == "SEALED"
    assert len(world.published(RoundSealed)) == 1


def test_hints_of_one_batch_are_one_look(world: World) -> None:
    world.begin("ann", "bob", "eve", target=3)
    hints = world.accept("ann", "bob")
    queries: list[str] = []
    query = world.store.query
    world.store.query = lambda pk, prefix="": queries.append(prefix) or query(pk, prefix)  # type: ignore[method-assign,func-returns-value]

    world.handle(*hints, *hints)

    assert queries == ["UPD#"]


def test_repeated_hints_after_the_seal_change_nothing(world: World) -> None:
    world.begin("ann", "bob")
    hints = world.accept("ann", "bob")
    world.hear(*hints)
    rows = world.store.query(f"RUN#{RUN}")

    world.hear(*hints)

    assert world.store.query(f"RUN#{RUN}") == rows
    assert len(world.published(RoundSealed)) == 1


def test_a_hint_of_an_unknown_attempt_is_dead_lettered(world: World) -> None:
    world.begin("ann", "bob")
    hint = UpdateAccepted(
        event_id="x",
        run_id=RUN,
        occurred_at=START,
        round=7,
        attempt=1,
        client_id="ann",
        sha256="0" * 64,
    )

    with pytest.raises(NotFound, match="ROUND#000007#01"):
        world.handle(hint)


def test_the_manifest_is_refused_while_rows_and_gates_disagree(world: World) -> None:
    world.begin("ann", "bob")
    hints = world.accept("ann", "bob")
    gate = gate_key(RUN, 1, 1, gate_of("ann"))
    world.store.commit(Update(gate, add={"n": 1}))

    with pytest.raises(Unavailable, match="2 accepted updates where its gates counted 3"):
        world.handle(*hints)

    assert (world.row().state, world.row().manifest) == ("SEALED", None)
    assert world.published(RoundSealed) == []
    world.store.commit(Update(gate, add={"n": -1}))
    world.sweep()
    assert world.row().manifest is not None


def test_the_same_rows_give_the_same_manifest(world: World) -> None:
    world.begin("ann", "bob")
    world.accept("ann", "bob")
    items = world.store.query(f"RUN#{RUN}#ROUND#000001#01")

    manifests = {
        encode_manifest(manifest_of(read_attempt(world.row(), order)))
        for order in (items, reversed(items))
    }

    assert len(manifests) == 1


def test_a_sealed_round_with_a_manifest_is_left_to_the_aggregator(world: World) -> None:
    world.begin("ann", "bob")
    world.hear(*world.accept("ann", "bob"))
    before = world.store.get(round_key(RUN, 1, 1))
    world.clock.advance(10_000)

    world.sweep()

    assert world.store.get(round_key(RUN, 1, 1)) == before
