"""Rounds of every kind of strategy, by tasks: products, partials, state, and what may go wrong."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from rondo_aggregator.handlers import inputs
from rondo_aggregator.strategies.products import BLOCK_COLUMNS
from rondo_core.events import Scalar
from rondo_core.layout import Layout, TensorSpec
from rondo_core.model_store import mix_key, products_key, slot_key, state_key
from rondo_core.optimizer_state import OptimizerState, decode_state, encode_state
from rondo_core.weights import decode, encode
from tests.unit.rondo_aggregator.aggregator_world import World
from tests.unit.rondo_aggregator.played_rounds import Played, play
from tests.unit.rondo_aggregator.round_rows import ATTEMPT, CLIENTS

LARGE = Layout((TensorSpec("dense/kernel", (2 * BLOCK_COLUMNS + 77,)),))
DELTAS = dict(
    zip(
        CLIENTS,
        np.random.default_rng(9).normal(size=(3, LARGE.size)).astype(np.float32),
        strict=True,
    )
)
EXAMPLES = {"ada": 3, "bob": 1, "cyd": 4}
STEPS = {"ada": 1.0, "bob": 2.5, "cyd": 4.0}
CHOICES: dict[str, dict[str, Scalar]] = {
    "krum": {"attackers": 0},
    "geometric-median": {},
    "median": {},
    "clipped-mean": {"clip_norm": 2.0},
    "adaptive-clipped-mean": {},
    "fedadam": {},
    "centred-clip": {"radius": 100.0},
    "fednova": {},
    "scaffold": {"population": 7},
}


def sealed(
    folder: Path,
    strategy: str,
    parameters: dict[str, Scalar],
    *,
    shard_columns: int,
    before: "World | None" = None,
) -> World:
    """Return a round that is about to be combined, and goes on from another world's result."""
    world = World(folder, layout=LARGE, shard_columns=shard_columns)
    version = None if before is None else before.version()
    state = None if version is None else version.optimizer_state
    world.open_round(base=None if before is None else before.weights())
    if before is not None and state is not None:
        kept = decode_state(before.models.get(state_key(state)))
        for key in (state_key(state), *(slot_key(sha) for sha in kept.slots.values())):
            world.models.put(key, before.models.get(key))
    for client, delta in DELTAS.items():
        world.submit(client, delta, examples=EXAMPLES[client], steps=STEPS[client])
    world.judge(*CLIENTS)
    world.seal()
    world.write_manifest(strategy, parameters, state)
    return world


def combined(world: World) -> World:
    world.jobs.combine(ATTEMPT)
    world.run_tasks()
    assert world.round().reason is None
    assert world.round().state == "COMMITTED"
    return world


def expected(strategy: str, before: Played | None = None) -> Played:
    return play(
        strategy,
        CHOICES[strategy],
        list(DELTAS.values()),
        examples=list(EXAMPLES.values()),
        steps=list(STEPS.values()),
        before=before,
    )


@pytest.mark.parametrize("strategy", CHOICES)
@pytest.mark.parametrize("shard_columns", [LARGE.size, BLOCK_COLUMNS, 50_000])
def test_two_rounds_of_a_strategy_give_the_bytes_of_its_pure_functions(
    tmp_path: Path, strategy: str, shard_columns: int
) -> None:
    worlds: list[World] = []
    for number in (1, 2):
        folder = tmp_path / str(number)
        folder.mkdir()
        before = worlds[-1] if worlds else None
        world = sealed(
            folder, strategy, CHOICES[strategy], shard_columns=shard_columns, before=before
        )
        worlds.append(combined(world))

    first = expected(strategy)
    second = expected(strategy, first)
    for world, played in zip(worlds, (first, second), strict=True):
        assert world.weights().tobytes() == played.weights.tobytes()
        version = world.version()
        assert version is not None
        if played.slots or played.scalars:
            assert version.optimizer_state is not None
            state = decode_state(world.models.get(state_key(version.optimizer_state)))
            assert (state.step, state.scalars) == (played.step, played.scalars)
            assert version.control == state.slots.get("control")
            for name, slot in played.slots.items():
                data = world.models.get(slot_key(state.slots[name]))
                assert hashlib.sha256(data).hexdigest() == state.slots[name]
                assert decode(data, LARGE).tobytes() == slot.tobytes()
        else:
            assert version.optimizer_state is None


@pytest.mark.parametrize("strategy", ["krum", "trimmed-mean", "fedadam"])
def test_a_round_too_large_to_be_kept_is_read_range_by_range(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, strategy: str
) -> None:
    monkeypatch.setattr(inputs, "WHOLE_BYTES", 0)
    parameters: dict[str, Scalar] = {"attackers": 0} if strategy == "krum" else {}
    world = sealed(tmp_path, strategy, parameters, shard_columns=BLOCK_COLUMNS)

    combined(world)

    version = play(strategy, parameters, list(DELTAS.values()), examples=list(EXAMPLES.values()))
    assert world.weights().tobytes() == version.weights.tobytes()


def test_products_come_before_partials_and_the_last_of_each_asks_on(tmp_path: Path) -> None:
    world = sealed(tmp_path, "krum", {"attackers": 0}, shard_columns=BLOCK_COLUMNS)
    world.jobs.combine(ATTEMPT)

    names = world.run_tasks()

    asked = ["rondo.combine", *["rondo.products"] * 3, "rondo.combine", *["rondo.partial"] * 3]
    assert names == [*asked, "rondo.combine"]


@pytest.mark.parametrize("seed", range(4))
def test_tasks_in_any_order_and_twice_by_several_workers_give_the_same_bytes(
    tmp_path: Path, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    parameters: dict[str, Scalar] = {"client_weights": "clip", "server_optimizer": "yogi"}
    world = sealed(tmp_path, "composed", parameters, shard_columns=BLOCK_COLUMNS)
    workers = [world.ports, world.worker("worker-2"), world.worker("worker-3")]
    world.jobs.combine(ATTEMPT)

    while tasks := world.asked() * 2:
        for index in rng.permutation(len(tasks)):
            world.ports = workers[rng.integers(3)]
            world.run(tasks[index])

    expected = play("composed", parameters, list(DELTAS.values()), examples=list(EXAMPLES.values()))
    assert world.round().state == "COMMITTED"
    assert world.weights().tobytes() == expected.weights.tobytes()


@pytest.mark.parametrize(
    ("strategy", "parameters", "kind", "rows"),
    [("clipped-mean", {}, "norms", 1), ("fltrust", {"root": "ada"}, "root-products", 2)],
)
def test_what_needs_no_pairs_keeps_rows_of_the_products_under_a_name_of_their_own(
    tmp_path: Path, strategy: str, parameters: dict[str, Scalar], kind: str, rows: int
) -> None:
    world = sealed(tmp_path, strategy, parameters, shard_columns=BLOCK_COLUMNS)
    manifest = world.round().manifest or ""

    combined(world)

    data = world.models.get(products_key(kind, manifest, 0, BLOCK_COLUMNS))
    assert len(data) == 8 * (1 + 2) + 8 * rows * len(DELTAS)
    assert world.models.head(products_key("products", manifest, 0, BLOCK_COLUMNS)) is None


def test_products_and_partials_that_exist_are_not_made_again(tmp_path: Path) -> None:
    world = sealed(tmp_path, "krum", {"attackers": 0}, shard_columns=BLOCK_COLUMNS)
    manifest = world.round().manifest or ""
    world.combine()
    first, *_ = world.asked()
    world.run(first)
    assert world.models.head(products_key("products", manifest, 0, BLOCK_COLUMNS)) is not None

    world.run(first)
    world.combine()

    assert [task.arguments["index"] for task in world.asked()] == [1, 2]


def test_a_partial_that_is_asked_for_before_the_mix_is_left_to_the_sweep(tmp_path: Path) -> None:
    world = sealed(tmp_path, "krum", {"attackers": 0}, shard_columns=BLOCK_COLUMNS)
    manifest = world.round().manifest or ""

    world.jobs.make_partial(ATTEMPT, manifest=manifest, width=BLOCK_COLUMNS, index=0)
    assert world.run_tasks() == ["rondo.partial"]

    assert (world.round().state, world.round().reason) == ("SEALED", None)
    assert world.models.head(mix_key(manifest)) is None


def test_products_of_an_old_manifest_are_nothing_to_do(tmp_path: Path) -> None:
    world = sealed(tmp_path, "krum", {"attackers": 0}, shard_columns=BLOCK_COLUMNS)

    world.jobs.sum_products(ATTEMPT, manifest="f" * 64, width=BLOCK_COLUMNS, index=0)
    world.run_tasks()

    assert world.models.head(products_key("products", "f" * 64, 0, BLOCK_COLUMNS)) is None


@pytest.mark.parametrize(
    ("strategy", "parameters", "reason"),
    [
        ("magic", {}, "unknown strategy 'magic'"),
        ("acme.magic", {}, "strategy 'acme.magic' is not installed where rounds are combined"),
        ("fedavg", {"beta": 1}, "strategy 'fedavg' has no parameter 'beta'"),
        ("krum", {}, "krum with 1 attackers needs more than 2 x 1 + 2 updates, and there are 3"),
        ("bulyan", {}, "bulyan with 1 attackers needs at least 4 x 1 + 3 updates"),
        ("trimmed-mean", {"trim": 0.7}, "trim: Expected `float` < 0.5, found 0.7"),
        ("fltrust", {"root": "eve"}, "fltrust: the root client 'eve' has no update"),
    ],
)
@pytest.mark.parametrize("shard_columns", [LARGE.size, BLOCK_COLUMNS])
def test_a_round_that_a_rule_refuses_says_which_and_leaves_the_last_version(
    tmp_path: Path, strategy: str, parameters: dict[str, Scalar], reason: str, shard_columns: int
) -> None:
    world = sealed(tmp_path, strategy, parameters, shard_columns=shard_columns)

    world.jobs.combine(ATTEMPT)
    world.run_tasks()

    row = world.round()
    assert row.state == "SEALED"
    assert (row.reason or "").startswith(f"cannot be combined: {reason}") or reason in (
        row.reason or ""
    )
    assert world.head == 0


def state_in(world: World, **fields: object) -> str:
    """Put a state of FedAdam into the store, with other fields than it should have."""
    zeros = encode(LARGE, np.zeros(LARGE.size, np.float32))
    sha256 = hashlib.sha256(zeros).hexdigest()
    world.models.put(slot_key(sha256), zeros)
    right = {
        "layout": LARGE.digest,
        "strategy": "fedadam",
        "step": 1,
        "slots": {"moment": sha256, "second": sha256},
    }
    data, digest = encode_state(OptimizerState(**{**right, **fields}))  # type: ignore[arg-type]
    world.models.put(state_key(digest), data)
    return digest


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"layout": "0" * 64}, f"the optimizer state has the layout {'0' * 64}, the model"),
        ({"slots": {}}, "keeps none; strategy 'fedadam' keeps moment, second"),
    ],
)
def test_a_state_of_another_layout_or_strategy_is_a_reason(
    tmp_path: Path, fields: dict[str, object], reason: str
) -> None:
    world = sealed(tmp_path, "fedavg", {}, shard_columns=LARGE.size)
    world.write_manifest("fedadam", {}, state_in(world, **fields))

    world.combine()

    assert reason in (world.round().reason or "")
    assert world.head == 0


def test_a_state_that_is_gone_or_not_what_its_name_says_is_a_reason(tmp_path: Path) -> None:
    world = sealed(tmp_path, "fedavg", {}, shard_columns=LARGE.size)
    world.write_manifest("fedadam", {}, "e" * 64)

    world.combine()

    assert "states/" in (world.round().reason or "")

    (other := tmp_path / "other").mkdir()
    world = sealed(other, "fedavg", {}, shard_columns=LARGE.size)
    world.models.put(state_key("e" * 64), b"{}")
    world.write_manifest("fedadam", {}, "e" * 64)

    world.combine()

    assert f"optimizer state {'e' * 64} has the digest" in (world.round().reason or "")
