"""The task that judges updates: every way to be wrong, and being right."""

import hashlib
import json
import re
from collections.abc import Callable

import numpy as np
import pytest

from rondo_aggregator.domain.attempt import Attempt
from rondo_aggregator.tasks import run_validate
from rondo_core.events import UpdateAccepted, UpdateRejected
from rondo_core.layout import Layout, TensorSpec
from rondo_core.run_store import Update, Value
from rondo_core.safetensors_header import encode_header
from rondo_core.weights import encode
from tests.unit.rondo_aggregator.aggregator_world import World
from tests.unit.rondo_aggregator.round_rows import ATTEMPT, CLIENTS, LAYOUT

Forge = Callable[[bytes], bytes]


def with_header(header: bytes) -> Forge:
    """Return what puts another header on the same data, padded to the right length of file."""

    def forge(data: bytes) -> bytes:
        room = len(LAYOUT.header)
        assert len(header) <= room
        return room.to_bytes(8, "little") + header.ljust(room) + data[LAYOUT.data_offset :]

    return forge


def with_value(column: int, value: float) -> Forge:
    def forge(data: bytes) -> bytes:
        flat = np.frombuffer(data, np.float32, offset=LAYOUT.data_offset).copy()
        flat[column] = value
        return encode(LAYOUT, flat)

    return forge


def other_layout(*tensors: tuple[str, tuple[int, ...]]) -> Forge:
    layout = Layout(tuple(TensorSpec(name, shape) for name, shape in tensors))
    return lambda _: encode(layout, np.zeros(layout.size, np.float32))


HALVES = (
    LAYOUT.header.replace(b'"F32"', b'"F16"')
    .replace(b"[0,16]", b"[0,8]")
    .replace(b"[16,28]", b"[8,14]")
)
SWAPPED = encode_header([("dense/bias", (3,)), ("dense/kernel", (2, 2))])

WRONG_FILES: dict[str, tuple[Forge, str, str]] = {
    "a wrong layer": (
        with_header(LAYOUT.header.replace(b"dense/bias", b"dense/bios")),
        "wrong-header",
        "dense/bias: missing",
    ),
    "layers in another order": (with_header(SWAPPED), "wrong-header", "stands where"),
    "a wrong shape": (
        with_header(LAYOUT.header.replace(b"[2,2]", b"[4,1]")),
        "wrong-header",
        r"dense/kernel: shape \(4, 1\), expected \(2, 2\)",
    ),
    "a wrong dtype": (
        with_header(LAYOUT.header.replace(b'"F32"', b'"I32"')),
        "wrong-header",
        "dense/kernel: dtype I32, expected float32",
    ),
    "a missing layer": (
        other_layout(("dense/kernel", (2, 2))),
        "wrong-size",
        "an update of this model in float32 has",
    ),
    "an extra layer": (
        other_layout(("dense/kernel", (2, 2)), ("dense/bias", (3,)), ("x/y", (1,))),
        "wrong-size",
        "an update of this model in float32 has",
    ),
    "NaN": (with_value(2, np.nan), "not-finite", r"dense/kernel at \[1, 0\] is nan, not a"),
    "infinity": (with_value(6, -np.inf), "not-finite", r"dense/bias at \[2\] is -inf"),
    "a truncated file": (
        lambda data: data[:-1],
        "wrong-size",
        "an update of this model in float32 has",
    ),
    "an oversized file": (
        lambda data: data + b"\0",
        "wrong-size",
        "an update of this model in float32 has",
    ),
    "a header bomb": (
        lambda data: (2**40).to_bytes(8, "little") + data[8:],
        "wrong-header",
        "over the limit",
    ),
    "a pickle": (lambda data: b"\x80\x04\x95CCCCC" + data[8:], "wrong-header", "a pickle"),
    "a zip archive": (lambda data: b"PK\x03\x04" + data[4:], "wrong-header", "a zip archive"),
    "a key twice": (
        with_header(json.dumps({"a/b": 1})[:-1].encode() + b',"a/b":2}'),
        "wrong-header",
        "appears twice",
    ),
    "halves": (
        with_header(HALVES),
        "wrong-encoding",
        "an update in float16, but those of the run are in float32",
    ),
}


@pytest.mark.parametrize("fault", WRONG_FILES)
def test_a_wrong_file_is_rejected_with_a_code_and_a_reason_and_others_are_not(
    world: World, fault: str
) -> None:
    forge, code, reason = WRONG_FILES[fault]
    good = encode(LAYOUT, np.ones(LAYOUT.size, np.float32))
    world.open_round()
    world.submit("ada", data=forge(good))
    world.submit("bob", data=good)

    world.judge("ada", "bob")

    rejected = world.updates()["ada"]
    assert (rejected.state, rejected.code) == ("REJECTED", code)
    assert re.search(reason, str(rejected.reason))
    assert world.states["bob"] == "ACCEPTED"
    assert world.counted() == 1


def test_a_file_that_is_not_the_one_declared_is_rejected(world: World) -> None:
    world.open_round()
    world.submit("ada", sha256="0" * 64)

    world.judge("ada")

    row = world.updates()["ada"]
    assert (row.state, row.code) == ("REJECTED", "wrong-digest")
    assert f"{'0' * 64} declared" in str(row.reason)


def test_an_object_of_another_size_than_declared_is_rejected_without_being_read(
    world: World,
) -> None:
    world.open_round()
    row = world.submit("ada", data=b"x" * 10_000, size=LAYOUT.size_bytes)

    world.judge("ada")

    assert world.updates()["ada"].reason == f"10000 bytes stored, {LAYOUT.size_bytes} declared"
    assert row.key not in world.models.reads


def test_a_declaration_of_the_wrong_size_is_rejected_without_looking_at_the_store(
    world: World,
) -> None:
    world.open_round()
    world.submit("ada", upload=False, size=2**40)

    world.judge("ada")

    assert world.updates()["ada"].code == "wrong-size"


def test_an_update_that_was_reported_but_never_uploaded_is_rejected(world: World) -> None:
    world.open_round()
    world.submit("ada", upload=False)

    world.judge("ada")

    row = world.updates()["ada"]
    assert (row.state, row.code) == ("REJECTED", "no-object")


def test_an_update_that_is_declared_but_not_uploaded_waits(world: World) -> None:
    world.open_round()
    world.submit("ada", upload=False, state="DECLARED")

    world.judge("ada")

    assert world.states == {"ada": "DECLARED"}
    assert world.bus.published == []


def test_an_update_whose_report_was_lost_counts(world: World) -> None:
    world.open_round()
    world.submit("ada", state="DECLARED")

    world.judge("ada")

    assert world.states == {"ada": "ACCEPTED"}
    assert world.counted() == 1


@pytest.mark.parametrize("examples", [0, -80])
def test_an_update_without_examples_is_rejected(world: World, examples: int) -> None:
    world.open_round()
    world.submit("ada", examples=examples)

    world.judge("ada")

    assert world.updates()["ada"].code == "wrong-examples"


@pytest.mark.parametrize(
    ("strategy", "parameters"),
    [
        ("fednova", {}),
        ("scaffold", {"population": 9}),
        ("composed", {"client_weights": "fednova"}),
    ],
)
def test_an_update_without_the_steps_that_the_strategy_goes_by_is_rejected_and_others_are_not(
    world: World, strategy: str, parameters: dict[str, object]
) -> None:
    world.open_round()
    asked: dict[str, Value] = {"strategy": strategy, "parameters": parameters}
    world.store.commit(Update(ATTEMPT.key, assign=asked))
    row = world.submit("ada")
    world.submit("bob", steps=0.5)
    world.submit("cyd", steps=1.0)

    world.judge(*CLIENTS)

    found = world.updates()
    rule = f"steps declared, strategy {strategy!r} needs at least 1"
    assert (found["ada"].code, found["ada"].reason) == ("missing-steps", f"no {rule}")
    assert (found["bob"].code, found["bob"].reason) == ("missing-steps", f"0.5 {rule}")
    assert world.states == {"ada": "REJECTED", "bob": "REJECTED", "cyd": "ACCEPTED"}
    assert world.counted() == 1
    assert row.key not in world.models.reads


def test_a_strategy_that_goes_by_no_steps_asks_for_none(world: World) -> None:
    world.open_round()
    world.submit("ada")
    world.submit("bob", steps=0.5)

    world.judge("ada", "bob")

    assert world.states == {"ada": "ACCEPTED", "bob": "ACCEPTED"}


def test_an_update_of_a_client_that_was_not_chosen_is_rejected(world: World) -> None:
    world.open_round()
    world.submit("eve")

    world.judge("eve")

    assert world.updates()["eve"].code == "not-chosen"
    assert world.counted() == 0


@pytest.mark.parametrize("state", ["SEALED", "COMMITTED", "ABORTED"])
def test_what_is_reported_after_the_seal_is_rejected_as_late_without_being_read(
    world: World, state: str
) -> None:
    world.open_round()
    row = world.submit("ada")
    world.submit("bob", state="DECLARED")
    world.store.commit(Update(ATTEMPT.key, assign={"state": state}))

    world.judge("ada", "bob")

    assert world.updates()["ada"].code == "late"
    assert world.states["bob"] == "DECLARED"
    assert row.key not in world.models.reads


def test_a_batch_is_accepted_in_one_transaction_that_pins_the_bytes(world: World) -> None:
    world.open_round()
    rows = [world.submit(client) for client in CLIENTS]
    world.store.commits.clear()

    world.judge(*CLIENTS)

    assert len(world.store.commits) == 1
    assert world.counted() == 3
    for row in rows:
        info = world.models.head(row.key)
        assert info is not None
        assert world.updates()[row.client_id].object_version == info.version


def test_the_verdicts_are_told_in_one_call_with_names_that_do_not_change(world: World) -> None:
    world.open_round()
    world.submit("ada")
    world.submit("bob", examples=0)

    world.judge("ada", "bob")
    world.judge("ada", "bob")

    ids = [event.event_id for event in world.bus.published]
    expected = ["UpdateAccepted/run-1/1/1/ada", "UpdateRejected/run-1/1/1/bob"]
    assert sorted(ids) == sorted(expected * 2)
    (rejected, _) = world.published(UpdateRejected)
    assert rejected.code == "wrong-examples"
    assert rejected.reason == "0 examples declared, at least 1 count"


def test_a_repeated_task_counts_nothing_twice_and_reads_nothing_twice(world: World) -> None:
    world.open_round()
    rows = [world.submit(client) for client in CLIENTS]

    world.judge(*CLIENTS)
    world.judge(*CLIENTS)
    world.judge("ada")

    assert world.counted() == 3
    assert [world.models.reads.count(row.key) for row in rows] == [1, 1, 1]


def test_one_query_is_enough_for_a_batch(world: World) -> None:
    world.open_round()
    for client in CLIENTS:
        world.submit(client)
    world.store.queries = 0

    world.judge(*CLIENTS)

    assert world.store.queries == 1


def test_clients_without_a_row_and_rounds_without_a_row_are_nothing_to_do(world: World) -> None:
    world.judge("ada")
    world.open_round()
    world.judge("ada")
    run_validate(Attempt("other", 1, 1), ["ada"], world.ports)

    assert world.bus.published == []


def test_a_pending_round_judges_nothing(world: World) -> None:
    world.open_round()
    world.submit("ada")
    world.store.commit(Update(ATTEMPT.key, assign={"state": "PENDING"}))

    world.judge("ada")

    assert world.states == {"ada": "REPORTED"}


def test_an_object_that_vanishes_between_head_and_get_is_rejected(world: World) -> None:
    world.open_round()
    row = world.submit("ada")
    head = world.models.head

    def vanish(key: str) -> object:
        info = head(key)
        if key == row.key:
            world.models._objects.pop(key)  # noqa: SLF001 - what a life-cycle rule does
        return info

    world.models.head = vanish  # type: ignore[method-assign,assignment]  # for one call

    world.judge("ada")

    assert world.updates()["ada"].code == "no-object"


def test_an_unanswered_transaction_that_was_made_counts_once(world: World) -> None:
    world.open_round()
    for client in CLIENTS:
        world.submit(client)
    world.store.lost = 1

    world.judge(*CLIENTS)

    assert set(world.states.values()) == {"ACCEPTED"}
    assert world.counted() == 3
    assert len(world.published(UpdateAccepted)) == 3


def test_an_unanswered_transaction_that_was_not_made_is_made_again(world: World) -> None:
    world.open_round()
    for client in CLIENTS:
        world.submit(client)
    world.store.refused = 1

    world.judge(*CLIENTS)

    assert world.counted() == 3
    assert len(world.published(UpdateAccepted)) == 3


def test_a_table_that_does_not_answer_leaves_the_updates_to_the_sweep(world: World) -> None:
    world.open_round()
    world.submit("ada")
    world.store.refused = 2

    world.judge("ada")

    assert world.states == {"ada": "REPORTED"}
    assert world.bus.published == []


def test_others_that_are_in_the_way_for_a_moment_cost_no_update(world: World) -> None:
    world.open_round()
    world.submit("ada")
    world.store.busy = 3

    world.judge("ada")

    assert (world.states, world.counted()) == ({"ada": "ACCEPTED"}, 1)


def test_others_that_stay_in_the_way_leave_the_update_to_the_sweep(world: World) -> None:
    world.open_round()
    world.submit("ada")
    world.store.busy = 4

    world.judge("ada")

    assert (world.states, world.counted()) == ({"ada": "REPORTED"}, 0)


def test_one_bad_row_in_a_cancelled_batch_does_not_hold_up_the_others(world: World) -> None:
    world.open_round()
    for client in CLIENTS:
        world.submit(client)
    replaced = Update(ATTEMPT.update_key("bob"), assign={"sha256": "f" * 64})
    world.store.before = lambda: world.store.commit(replaced)

    world.judge(*CLIENTS)

    assert world.states == {"ada": "ACCEPTED", "bob": "REPORTED", "cyd": "ACCEPTED"}
    assert world.counted() == 2


def test_a_base_of_another_layout_than_the_rounds_is_nobodys_fault_and_rejects_nobody(
    world: World,
) -> None:
    world.open_round()
    world.submit("ada")
    world.store.commit(Update(ATTEMPT.key, assign={"layout": "7" * 64}))

    world.judge("ada")

    assert world.states == {"ada": "REPORTED"}
    assert world.count("rondo_loop_failures_total", kind="validate", outcome="error") == 1


def test_verdicts_are_counted_by_their_code(world: World) -> None:
    world.open_round()
    world.submit("ada")
    world.submit("bob", examples=0)

    world.judge("ada", "bob")

    assert world.count("rondo_updates_judged_total", outcome="accepted") == 1
    assert world.count("rondo_updates_judged_total", outcome="wrong-examples") == 1


def test_the_layout_of_a_model_with_a_long_header_is_read_whole(
    world: World,
) -> None:
    tensors = tuple(TensorSpec(f"layer_{index}/{'k' * 150}", (1,)) for index in range(400))
    layout = Layout(tensors)
    assert len(layout.header) > 64 * 1024
    large = World(world.folder, layout=layout)
    large.open_round()
    large.submit("ada")

    large.judge("ada")

    assert large.states == {"ada": "ACCEPTED"}
    assert hashlib.sha256(layout.header).hexdigest() == large.round().layout
