"""RunRequested: possible, impossible, twice, different."""

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from rondo_core.errors import Invalid
from rondo_core.events import RunFinished, RunProgress, RunRequested
from rondo_core.keys import RUNS_PK, head_key, run_key, spec_row_key, version_key
from rondo_core.model_rows import choose_spec
from rondo_core.model_store import holdout_key, spec_key
from rondo_core.rows import VersionRow, from_item, to_item
from rondo_core.run_store import Put, Update
from rondo_core.testing import MemoryModelStore
from tests.unit.rondo_dispatcher import stand_ins
from tests.unit.rondo_dispatcher.world import RUN, START, World, request


def test_run_requested_writes_the_first_rows_and_starts_the_state_machine(world: World) -> None:
    world.register()

    world.handle(request(training={"epochs": 3}))

    run = world.run()
    assert (run.state, run.active, run.spec, run.layout) == (
        "RUNNING",
        "run",
        stand_ins.SPEC,
        stand_ins.LAYOUT,
    )
    assert (run.training, run.requested_at) == ({"epochs": 3}, START)
    assert world.head() == 0
    initial = from_item(world.store.get(version_key(RUN, 0)) or {}, VersionRow)
    assert (initial.sha256, initial.size, initial.parent) == (
        stand_ins.sha256("initial weights"),
        len(stand_ins.INITIAL),
        None,
    )
    assert world.workflow.status(RUN) == "RUNNING"
    (asked,) = world.bus.published
    assert (asked.run_id, asked.event_id) == (RUN, f"RoundRequested/{RUN}/1/1")


def test_run_requested_lists_the_run_in_the_commit_that_makes_it(world: World) -> None:
    world.register()

    world.handle(request())

    (pointer,) = world.store.query(RUNS_PK)
    assert (pointer["run_id"], pointer["model"]) == (RUN, "digits")
    assert str(pointer["SK"]).startswith("2026-01-02T03:04:05")


def test_run_requested_without_a_spec_takes_the_newest(world: World) -> None:
    old = stand_ins.register(world.store, world.models, now=START, spec="a" * 64)
    stand_ins.register(world.store, world.models, now=START + timedelta(seconds=1), spec="0" * 64)

    world.handle(request())

    assert world.run().spec == "0" * 64
    assert choose_spec([old], "b" * 64) is None


def test_run_requested_twice_is_once(world: World) -> None:
    world.register()
    world.handle(request())
    rows = world.store.query(f"RUN#{RUN}")

    again = request(event_id="again", occurred_at=START + timedelta(hours=1))
    world.handle(again, again)

    assert world.store.query(f"RUN#{RUN}") == rows
    assert len(world.store.query(RUNS_PK)) == 1
    assert len(world.bus.published) == 1


def test_run_requested_twice_is_once_when_a_newer_spec_was_registered_between(
    world: World,
) -> None:
    world.register()
    world.handle(request())
    later = START + timedelta(hours=1)
    stand_ins.register(world.store, world.models, now=later, spec="0" * 64)

    world.handle(request())

    assert world.run().spec == stand_ins.SPEC


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("model", "cats"),
        ("spec", "9" * 64),
        ("strategy", "median"),
        ("parameters", {"beta": 1}),
        ("training", {"epochs": 2}),
        ("rounds", 2),
        ("target", 3),
        ("quorum", 2),
        ("deadline_seconds", 99.0),
        ("start_deadline_seconds", 49.5),
    ],
)
def test_a_different_request_under_the_same_run_id_is_dead_lettered_naming_the_field(
    world: World, field: str, value: Any
) -> None:
    world.register()
    world.hear(request())

    world.hear(request(event_id="other", **{field: value}))

    ((_, reason),) = world.bus.dead_letters("dispatcher")
    assert field in reason
    assert str(value) in reason
    assert world.run().state == "RUNNING"


@pytest.mark.parametrize(
    "changes",
    [
        {"strategy": "fednova", "training": {"proximal_mu": 0.5}},
        {"strategy": "scaffold", "parameters": {"population": 2}, "training": {"momentum": 0.9}},
        {"training": {"proximal_mu": 0.5, "optimizer": "adam"}},
    ],
)
def test_a_run_whose_clients_take_part_in_its_algorithm_begins(
    world: World, changes: dict[str, Any]
) -> None:
    world.register()

    world.hear(request(**changes))

    run = world.run()
    assert (run.state, run.training) == ("RUNNING", changes["training"])


def test_a_run_keeps_its_encoding(world: World) -> None:
    world.register()

    world.hear(request(encoding="top-k:0.1"))

    assert (world.run().state, world.run().encoding) == ("RUNNING", "top-k:0.1")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"model": "cats"}, "model 'cats' has not registered a model spec"),
        ({"spec": "9" * 64}, f"model 'digits' has not registered the model spec {'9' * 64}"),
        ({"quorum": 3}, "target 2 is below quorum 3"),
        ({"encoding": "float64"}, "unknown encoding 'float64'; known: bfloat16, float16, float32"),
        ({"encoding": "top-k:0.1", "strategy": "fednova"}, "strategy 'fednova' divides a delta by"),
        ({"strategy": "magic"}, "unknown strategy 'magic'; known: adaptive-clipped-mean, bulyan"),
        (
            {"parameters": {"beta": 0.9}},
            "strategy 'fedavg' has no parameter 'beta'; it takes: examples_cap, ",
        ),
        ({"training": {"epoch": 3}}, "training: "),
        ({"training": {"epochs": 0}}, "training: $.training.epochs"),
        (
            {"strategy": "fednova", "training": {"optimizer": "adam"}},
            "optimizer 'adam': strategy 'fednova' needs plain steps",
        ),
        (
            {"strategy": "scaffold", "parameters": {"population": 1}},
            "target 2: 2 updates in a round of a population of 1",
        ),
        (
            {
                "strategy": "scaffold",
                "parameters": {"population": 2},
                "training": {"proximal_mu": 0.5},
            },
            "proximal_mu 0.5: SCAFFOLD goes without",
        ),
    ],
)
def test_an_impossible_run_is_failed_with_a_reason(
    world: World, changes: dict[str, Any], reason: str
) -> None:
    world.register()

    world.hear(request(**changes))

    run = world.run()
    assert (run.state, run.active, run.finished_at) == ("FAILED", None, START)
    assert reason in (run.reason or "")
    (finished,) = world.published(RunFinished)
    assert (finished.state, finished.reason) == ("FAILED", run.reason)
    assert world.workflow.status(RUN) is None
    assert world.bus.dead_letters("dispatcher") == []
    assert world.store.get(head_key(RUN)) is None
    assert len(world.store.query(RUNS_PK)) == 1


def test_a_strategy_that_needs_more_updates_than_the_runs_rounds_have_is_failed(
    world: World,
) -> None:
    world.register()

    world.hear(request(strategy="krum", target=4, quorum=4))

    assert world.run().state == "FAILED"
    assert (world.run().reason or "").startswith("target 4: krum with 1 attackers needs more than")


def test_a_spec_that_trains_with_adam_is_failed_where_steps_must_be_plain(world: World) -> None:
    stand_ins.register(world.store, world.models, now=START, optimizer="adam")

    world.hear(request(strategy="fednova"))
    world.hear(request(strategy="fednova", run_id="run-2", training={"optimizer": "sgd"}))

    rule = "training: optimizer 'adam': strategy 'fednova' needs plain steps"
    assert (world.run().state, world.run().reason) == ("FAILED", rule)
    assert (world.store.get(run_key("run-2")) or {})["state"] == "RUNNING"


def test_a_spec_that_is_not_in_the_store_is_failed_naming_the_key(world: World) -> None:
    row = stand_ins.register(world.store, world.models, now=START)
    lost = msgspec.structs.replace(row, spec="9" * 64)
    world.store.commit(Put(spec_row_key("digits", lost.spec), to_item(lost)))

    world.hear(request(strategy="fednova", spec=lost.spec))

    assert spec_key(lost.spec) in (world.run().reason or "")


def test_a_run_whose_holdout_was_not_uploaded_is_failed_naming_the_key(world: World) -> None:
    models = MemoryModelStore()
    spec = stand_ins.register(world.store, models, now=START)

    world.handle(request())

    reason = world.run().reason or ""
    assert world.run().state == "FAILED"
    assert f"versions/{spec.initial_sha256} is not in the store" in reason


def test_a_run_whose_holdout_has_another_size_is_failed_naming_the_key(world: World) -> None:
    spec = stand_ins.register(world.store, world.models, now=START)
    changed = Update(spec_row_key("digits", spec.spec), assign={"holdout_size": 999})
    world.store.commit(changed)

    world.handle(request())

    key = holdout_key(spec.holdout_sha256)
    assert world.run().reason == f"object {key} has {len(stand_ins.HOLDOUT)} bytes, not 999"


def test_a_failed_run_that_is_asked_for_again_stays_failed(world: World) -> None:
    world.hear(request())
    world.register()

    world.hear(request())

    assert world.run().state == "FAILED"
    assert world.workflow.status(RUN) is None
    assert len(world.published(RunFinished)) == 1


def test_a_malformed_message_is_dead_lettered_and_the_next_is_handled(world: World) -> None:
    world.register()
    source = world.bus.source("dispatcher")
    source.send("not JSON")
    source.send('{"specversion": "1.0", "id": "1", "source": "x", "type": "Nonsense",')

    world.hear(request())

    reasons = [reason for _, reason in world.bus.dead_letters("dispatcher")]
    assert len(reasons) == 2
    assert all("not a CloudEvents 1.0 message" in reason for reason in reasons)
    assert world.run().state == "RUNNING"


def test_one_bad_request_of_a_batch_does_not_keep_the_others_waiting(world: World) -> None:
    world.register()
    world.handle(request())
    different = request(rounds=9)
    other = request(run_id="run-2")

    world.bus.publish(different, other)
    world.deliver()

    assert len(world.bus.dead_letters("dispatcher")) == 1
    assert world.store.get(run_key("run-2")) is not None


def test_a_different_request_raises_invalid(world: World) -> None:
    world.register()
    world.handle(request())

    with pytest.raises(Invalid, match="rounds 1, and is asked for with 5"):
        world.handle(request(rounds=5))


def test_the_state_machine_starts_with_the_first_attempt_of_the_first_round(world: World) -> None:
    world.register()

    world.handle(request(rounds=7))

    world.workflow.start(RunProgress(run_id=RUN, rounds=7, round=1, attempt=1))  # no Conflict
    assert len(world.bus.published) == 1
    assert RunRequested.__name__ not in {type(event).__name__ for event in world.bus.published}
