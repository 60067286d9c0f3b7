"""The Keras trainer, with TensorFlow: what a data owner's `train(x, y)` rests on."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rondo
from rondo import RoundTask
from rondo.keras_trainer import KerasTrainer
from rondo.keras_training import LocalTraining
from rondo.local_steps import effective_steps
from rondo_core.errors import Invalid, LayoutMismatch, SpecInvalid
from rondo_core.events import Scalar
from rondo_core.initial_weights import initial_weights, layout_of_spec
from rondo_core.keys import version_key
from rondo_core.manifest import Manifest, decode_manifest
from rondo_core.model_spec import ModelSpec, parse_model_spec
from rondo_core.model_store import manifest_key, slot_key
from rondo_core.rows import VersionRow, from_item
from rondo_core.weights import Float32Array, decode
from tests.integration.sdk_stack import TOKEN, SdkStack, sdk_stack

DOCUMENT = {
    "model": "side",
    "input": {
        "kind": "table",
        "columns": [{"kind": "number", "name": "a"}, {"kind": "number", "name": "b"}],
    },
    "layers": [
        {"kind": "Dense", "name": "hidden", "units": 8, "activation": "relu"},
        {"kind": "Dense", "name": "out", "units": 2, "activation": "softmax"},
    ],
    "output": {"kind": "classes", "labels": ["left", "right"]},
    "loss": "sparse_categorical_crossentropy",
    "metrics": ["accuracy"],
    "training": {"optimizer": "adam", "learning_rate": 0.02, "batch_size": 16},
}
Arrays = dict[str, Float32Array]


@pytest.fixture
def spec() -> ModelSpec:
    return parse_model_spec(json.dumps(DOCUMENT).encode())


@pytest.fixture
def start(spec: ModelSpec) -> Arrays:
    return layout_of_spec(spec).to_arrays(initial_weights(spec))


LINE = {
    "model": "line",
    "input": {"kind": "table", "columns": [{"kind": "number", "name": "a"}]},
    "layers": [{"kind": "Dense", "name": "out", "units": 1}],
    "output": {"kind": "number", "name": "y"},
    "loss": "mean_squared_error",
    "training": {"optimizer": "sgd", "learning_rate": 0.1},
}
ZEROS = {"out/kernel": np.zeros((1, 1), np.float32), "out/bias": np.zeros(1, np.float32)}


@pytest.fixture(scope="module")
def line() -> KerasTrainer:
    """Return a trainer on x = 1, y = 3: from kernel k and bias k, both gradients are 4k - 6."""
    return KerasTrainer(parse_model_spec(json.dumps(LINE).encode()), np.ones((10, 1)), [3.0] * 10)


def side_data(examples: int = 200, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Which side of the line a = b a point lies on."""
    x = np.random.default_rng(seed).normal(size=(examples, 2))
    return x, np.where(x[:, 0] > x[:, 1], "right", "left")


def task(seed: int = 1, **training: Any) -> RoundTask:
    return RoundTask(run_id="r", round=1, rounds=1, seed=seed, training=training)


def drifting(drift: float, **training: Any) -> RoundTask:
    arrays = {name: np.full_like(array, drift) for name, array in ZEROS.items()}
    return replace(task(**training), drift=arrays)


def flat(arrays: object) -> bytes:
    assert isinstance(arrays, dict)
    return b"".join(array.tobytes() for array in arrays.values())


def test_it_measures_on_its_own_part_and_learns_on_the_rest(spec: ModelSpec, start: Arrays) -> None:
    trainer = KerasTrainer(spec, *side_data())
    before = trainer.evaluate(start)

    new, examples, _ = trainer.train(start, task(epochs=20))
    after = trainer.evaluate(new)

    assert (before["examples"], examples) == (40.0, 160)
    assert after["accuracy"] > 0.9
    assert after["loss"] < before["loss"] / 2
    assert list(new) == list(start)


def test_a_round_does_not_remember_the_round_before(spec: ModelSpec, start: Arrays) -> None:
    trainer = KerasTrainer(spec, *side_data())

    first = flat(trainer.train(start, task())[0])
    trainer.train(start, task(seed=2, epochs=3))
    again = flat(trainer.train(start, task())[0])

    assert again == first
    assert flat(KerasTrainer(spec, *side_data()).train(start, task())[0]) == first


def test_a_run_overrides_the_specs_training_and_the_spec_holds_otherwise(
    spec: ModelSpec, start: Arrays
) -> None:
    trainer = KerasTrainer(spec, *side_data())
    by_spec = flat(trainer.train(start, task())[0])

    still = trainer.train(start, task(optimizer="sgd", learning_rate=1e-12, momentum=0.5))[0]

    assert flat(trainer.train(start, task())[0]) == by_spec
    for name, array in start.items():
        np.testing.assert_allclose(still[name], array, atol=1e-9)
    with pytest.raises(SpecInvalid, match=r"\$\.training"):
        trainer.train(start, task(epoch=2))


def test_a_version_that_answers_nan_is_measured_as_such(spec: ModelSpec, start: Arrays) -> None:
    trainer = KerasTrainer(spec, *side_data())

    found = trainer.evaluate({name: array + np.float32(np.nan) for name, array in start.items()})

    assert found["examples"] == 40.0
    assert np.isnan(found["loss"])


def test_weights_of_another_model_and_data_that_does_not_fit_are_refused(
    spec: ModelSpec, start: Arrays
) -> None:
    x, y = side_data()

    with pytest.raises(Invalid, match="is not one of 'left', 'right'"):
        KerasTrainer(spec, x, np.where(y == "left", "up", "down"))
    with pytest.raises(LayoutMismatch, match="out/bias: missing"):
        KerasTrainer(spec, x, y).evaluate(
            {name: array for name, array in start.items() if name != "out/bias"}
        )


# --- FedProx, FedNova and SCAFFOLD, by hand -------------------------------------------------------


@pytest.mark.parametrize(
    ("training", "weight", "steps"),
    [
        # y1 = 0.6, y2 = 0.6 - 0.1 (4 x 0.6 - 6) = 0.96
        ({"epochs": 2}, 0.96, 2.0),
        # y2 = 0.6 - 0.1 (2.4 - 6 + 2 x 0.6) = 0.84; a = (1 - 0.2) + 1
        ({"epochs": 2, "proximal_mu": 2.0}, 0.84, 1.8),
        # v = 6, 0.5 x 6 + 3.6: y2 = 0.6 + 0.66; a = 1.5 + 1
        ({"epochs": 2, "momentum": 0.5}, 1.26, 2.5),
        # v = 6, then 3 + 3.6 - 1.2: y2 = 0.6 + 0.54; a = (1 + 0.5 - 0.2) + 1
        ({"epochs": 2, "momentum": 0.5, "proximal_mu": 2.0}, 1.14, 2.3),
        # batches of 4 and 4: two steps an epoch
        ({"batch_size": 4}, 0.96, 2.0),
    ],
)
def test_two_steps_end_where_they_do_by_hand(
    line: KerasTrainer, training: dict[str, Any], weight: float, steps: float
) -> None:
    found = line.train(ZEROS, task(**training))

    assert found.weights["out/kernel"][0, 0] == pytest.approx(weight, abs=1e-6)
    assert found.weights["out/bias"][0] == pytest.approx(weight, abs=1e-6)
    assert found.steps == pytest.approx(steps, abs=1e-6)


@pytest.mark.parametrize(
    ("training", "weight"),
    [
        # y1 = 0.6 - 0.2, y2 = 0.4 - 0.1 (1.6 - 6) - 0.2
        ({"epochs": 2}, 0.64),
        # v1 = 6 - 2, y1 = 0.4; v2 = 0.5 x 4 + 4.4 - 2, y2 = 0.4 + 0.44
        ({"epochs": 2, "momentum": 0.5}, 0.84),
    ],
)
def test_each_step_drifts_by_the_difference_of_the_control_variates(
    line: KerasTrainer, training: dict[str, Any], weight: float
) -> None:
    found = line.train(ZEROS, drifting(0.2, **training)).weights

    assert found["out/kernel"][0, 0] == pytest.approx(weight, abs=1e-6)
    assert found["out/bias"][0] == pytest.approx(weight, abs=1e-6)


def test_a_mu_of_zero_and_no_drift_are_plain_training_bit_for_bit(
    spec: ModelSpec, start: Arrays
) -> None:
    trainer = KerasTrainer(spec, *side_data())
    plain = flat(trainer.train(start, task(epochs=2))[0])

    pulled = flat(trainer.train(start, task(epochs=2, proximal_mu=0.5))[0])
    again = flat(trainer.train(start, task(epochs=2, proximal_mu=0.0))[0])

    assert again == plain != pulled


def test_the_pull_is_towards_this_rounds_weights_and_not_those_of_an_earlier_one(
    line: KerasTrainer,
) -> None:
    ones = {name: array + np.float32(1) for name, array in ZEROS.items()}
    first = line.train(ones, task(proximal_mu=2.0, epochs=2)).weights

    line.train(ZEROS, task(proximal_mu=2.0, epochs=2))
    again = line.train(ones, task(proximal_mu=2.0, epochs=2)).weights

    # y1 = 1.2, y2 = 1.2 - 0.1 (4.8 - 6 + 2 x 0.2)
    assert first["out/bias"][0] == pytest.approx(1.28, abs=1e-6)
    assert flat(again) == flat(first)


def test_adam_has_no_number_of_plain_steps_and_takes_no_drift(line: KerasTrainer) -> None:
    assert line.train(ZEROS, task(optimizer="adam", proximal_mu=1.0)).steps is None
    for training in ({"optimizer": "adam"}, {"proximal_mu": 1.0}):
        with pytest.raises(Invalid, match="a SCAFFOLD run trains with 'sgd' and without"):
            line.train(ZEROS, drifting(0.2, **training))


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[SdkStack]:
    with sdk_stack(tmp_path) as running:
        yield running


def test_two_owners_of_one_side_each_learn_both_sides_together(
    stack: SdkStack, spec: ModelSpec, tmp_path: Path
) -> None:
    x, y = side_data(400)

    def own(label: str, invite: str) -> rondo.Result:
        mine = y == label
        with rondo.connect(stack.url, invite, label, home=tmp_path / label) as federation:
            return federation.train(x[mine], y[mine], progress=False)

    with rondo.Operator(stack.url, TOKEN) as operator:
        operator.register_model(spec, *side_data(50, seed=1))
        operator.start_run("side", rounds=12, target=2, quorum=2, training={"epochs": 2})
        with ThreadPoolExecutor(2) as threads:
            results = list(threads.map(own, ("left", "right"), operator.invites("side", 2)))

    assert {result.state for result in results} == {"FINISHED"}
    curve = [entry.federation["accuracy"] for entry in results[0].rounds[:-1]]
    assert curve[-1] > 0.9


@pytest.mark.parametrize(
    ("strategy", "parameters", "training"),
    [
        ("fednova", {}, {"proximal_mu": 0.01}),
        ("scaffold", {"population": 2}, {}),
    ],
)
def test_owners_of_unequal_data_train_by_a_runs_algorithm_with_the_same_five_lines(
    stack: SdkStack,
    spec: ModelSpec,
    tmp_path: Path,
    strategy: str,
    parameters: dict[str, Scalar],
    training: dict[str, Scalar],
) -> None:
    x, y = side_data(400)
    parts = {"few": slice(0, 50), "many": slice(50, 400)}

    def own(name: str, invite: str) -> rondo.Result:
        part = parts[name]
        with rondo.connect(stack.url, invite, name, home=tmp_path / name) as federation:
            return federation.train(x[part], y[part], progress=False)

    with rondo.Operator(stack.url, TOKEN) as operator:
        operator.register_model(spec, *side_data(50, seed=1))
        run_id = operator.start_run(
            "side",
            rounds=4,
            target=2,
            quorum=2,
            strategy=strategy,
            parameters=parameters,
            training={"optimizer": "sgd", "learning_rate": 0.3, "epochs": 2, **training},
        )
        with ThreadPoolExecutor(2) as threads:
            results = list(threads.map(own, parts, operator.invites("side", 2)))

    assert {(result.state, result.reason) for result in results} == {
        ("FINISHED", "promoted as version 1")
    }
    assert results[0].rounds[-2].federation["accuracy"] > 0.9
    version, manifest = last_round(stack, run_id)
    layout = layout_of_spec(spec)
    # 2 epochs of 3 and of 18 batches.
    pull = 0.3 * float(training.get("proximal_mu", 0))
    expected = [effective_steps(number, pull=pull) for number in (6, 36)]
    assert sorted(one.steps or 0 for one in manifest.updates) == expected
    assert (version.control is not None) == (strategy == "scaffold")
    if version.control is not None:
        # Both were there, and N = 2: c = -(D_1 / 6 + D_2 / 36) / 2.
        deltas = [decode(stack.objects.get(one.key), layout) for one in manifest.updates]
        moves = [
            delta / (one.steps or 0) for delta, one in zip(deltas, manifest.updates, strict=True)
        ]
        control = decode(stack.objects.get(slot_key(version.control)), layout)
        np.testing.assert_allclose(control, -np.mean(moves, axis=0), atol=1e-6)


def last_round(stack: SdkStack, run_id: str) -> tuple[VersionRow, Manifest]:
    version = from_item(stack.store.get(version_key(run_id, 4)) or {}, VersionRow)
    return version, decode_manifest(stack.objects.get(manifest_key(version.manifest or "")))


def test_every_batch_is_trained_on_however_many_there_are_and_the_last_one_is_smaller() -> None:
    training = LocalTraining(parse_model_spec(json.dumps(LINE).encode()))
    inputs, targets = np.ones((161, 1), np.float32), np.full(161, 3, np.float32)

    new, examples, steps = training.train(
        ZEROS, task(batch_size=2, learning_rate=1e-3), inputs, targets
    )

    assert (examples, steps) == (161, 81.0)
    assert new["out/kernel"][0, 0] == pytest.approx(1.5 * (1 - 0.996**81), rel=1e-5)
