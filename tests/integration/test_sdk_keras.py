"""The Keras trainer, with TensorFlow: what a data owner's `train(x, y)` rests on."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import rondo
from rondo import RoundTask
from rondo.keras_trainer import KerasTrainer
from rondo_core.errors import Invalid, LayoutMismatch, SpecInvalid
from rondo_core.events import Scalar
from rondo_core.initial_weights import initial_weights, layout_of_spec
from rondo_core.model_spec import ModelSpec, parse_model_spec
from rondo_core.weights import Float32Array
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


def side_data(examples: int = 200, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Which side of the line a = b a point lies on."""
    x = np.random.default_rng(seed).normal(size=(examples, 2))
    return x, np.where(x[:, 0] > x[:, 1], "right", "left")


def task(seed: int = 1, **training: Scalar) -> RoundTask:
    return RoundTask(run_id="r", round=1, rounds=1, seed=seed, training=training)


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
        operator.start_run("side", rounds=8, target=2, quorum=2, training={"epochs": 2})
        with ThreadPoolExecutor(2) as threads:
            results = list(threads.map(own, ("left", "right"), operator.invites("side", 2)))

    assert {result.state for result in results} == {"FINISHED"}
    curve = [entry.federation["accuracy"] for entry in results[0].rounds[:-1]]
    assert curve[-1] > 0.9
