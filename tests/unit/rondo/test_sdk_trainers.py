"""Trainers: the split, the batches, and what a run may override."""

import sys
import types
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rondo import Invalid, NumpyTrainer, RoundTask, Trainer
from rondo.trainer import split
from rondo_core.events import Scalar
from tests.unit.rondo.fake_gateway import Connect, FakeGateway
from tests.unit.rondo.linear import evaluate, line_data, line_trainer, step

WEIGHTS = {"out/kernel": np.zeros((2, 1), np.float32), "out/bias": np.zeros(1, np.float32)}


def task(seed: int = 1, **training: Scalar) -> RoundTask:
    return RoundTask(run_id="r", round=1, rounds=1, seed=seed, training=training)


@given(st.integers(2, 300), st.floats(0.001, 0.999), st.integers(0, 5))
def test_a_split_uses_every_example_once_and_leaves_no_part_empty(
    examples: int, holdout: float, seed: int
) -> None:
    train, kept = split(examples, holdout=holdout, seed=seed)

    assert sorted([*train, *kept]) == list(range(examples))
    assert len(train) >= 1
    assert len(kept) >= 1
    again = split(examples, holdout=holdout, seed=seed)
    assert (again[0].tolist(), again[1].tolist()) == (train.tolist(), kept.tolist())


@pytest.mark.parametrize(
    ("examples", "holdout", "text"),
    [(1, 0.5, "at least 2"), (9, 0.0, "holdout 0.0"), (9, 1.0, "holdout 1.0")],
)
def test_a_split_that_cannot_be_is_refused(examples: int, holdout: float, text: str) -> None:
    with pytest.raises(Invalid, match=text):
        split(examples, holdout=holdout, seed=0)


def test_two_functions_are_a_trainer() -> None:
    trainer = line_trainer()

    assert isinstance(trainer, Trainer)
    assert trainer.evaluate(WEIGHTS)["examples"] == 10.0
    assert trainer.train(WEIGHTS, task())[1] == 40


def test_training_changes_no_array_that_it_was_given() -> None:
    def greedy(weights: Any, x: Any, y: Any, parameters: Any) -> Any:
        weights["out/bias"] += 1
        return step(weights, x, y, parameters)

    trainer = NumpyTrainer(*line_data(), step=greedy, evaluate=evaluate)
    given_weights = {name: array.copy() for name, array in WEIGHTS.items()}
    for array in given_weights.values():
        array.flags.writeable = False

    new = trainer.train(given_weights, task()).weights

    assert given_weights["out/bias"].tolist() == [0.0]
    assert new["out/bias"].dtype == np.float32


def test_the_same_seed_trains_to_the_same_bytes_and_another_one_does_not() -> None:
    first, again, other = (line_trainer().train(WEIGHTS, task(seed))[0] for seed in (1, 1, 2))

    assert first["out/kernel"].tobytes() == again["out/kernel"].tobytes()
    assert first["out/kernel"].tobytes() != other["out/kernel"].tobytes()


def test_a_run_overrides_epochs_batch_size_and_whatever_the_step_reads() -> None:
    seen: list[tuple[int, Mapping[str, Scalar]]] = []

    def noting(weights: Any, x: Any, y: Any, parameters: Mapping[str, Scalar]) -> Any:
        del y
        seen.append((len(x), parameters))
        return weights

    trainer = NumpyTrainer(
        *line_data(10), step=noting, evaluate=evaluate, parameters={"rate": 0.5, "epochs": 3}
    )

    trainer.train(WEIGHTS, task())
    trainer.train(WEIGHTS, task(epochs=2, batch_size=5, rate=0.25))

    assert [size for size, _ in seen] == [8, 8, 8, 5, 3, 5, 3]
    assert seen[0][1] == {"batch_size": 32, "epochs": 3, "rate": 0.5}
    assert seen[-1][1]["rate"] == 0.25


@pytest.mark.parametrize("value", [0, -1, 1.5, "two"])
def test_epochs_that_cannot_be_counted_are_refused(value: Scalar) -> None:
    with pytest.raises(Invalid, match="epochs is"):
        line_trainer().train(WEIGHTS, task(epochs=value))


def test_data_of_different_lengths_is_refused() -> None:
    x, y = line_data()

    with pytest.raises(Invalid, match="x has 50 examples and y has 49"):
        NumpyTrainer(x, y[:-1], step=step, evaluate=evaluate)


class NotKeras:
    """Stands where Keras's trainer is, which takes seconds to load."""

    def __init__(self, spec: Any, x: Any, y: Any, *, holdout: float, seed: int) -> None:
        self.made_of = spec, x, y, holdout, seed
        self.inner = line_trainer()

    def evaluate(self, weights: Any) -> Any:
        return self.inner.evaluate(weights)

    def train(self, weights: Any, task: RoundTask) -> Any:
        return self.inner.train(weights, task)


def test_x_and_y_are_trained_with_keras_on_the_runs_spec(
    connect: Connect, gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[NotKeras] = []
    module = types.ModuleType("rondo.keras_trainer")
    module.KerasTrainer = lambda *a, **k: made.append(NotKeras(*a, **k)) or made[-1]  # type: ignore[attr-defined,func-returns-value]
    monkeypatch.setitem(sys.modules, "rondo.keras_trainer", module)
    gateway.start_run(rounds=1)

    result = connect().train([[1.0, 2.0]], [3.0], holdout=0.5, seed=4, progress=False)

    assert result.state == "FINISHED"
    assert [trainer.made_of for trainer in made] == [(gateway.spec, [[1.0, 2.0]], [3.0], 0.5, 4)]


def test_without_keras_one_is_told_how_to_get_it_before_anybody_waits(
    connect: Connect, gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "rondo.keras_trainer", None)

    with pytest.raises(Invalid, match=r"pip install 'rondo\[keras\]'"):
        connect().train([[1.0, 2.0]], [3.0], progress=False)

    assert gateway.count("GET /v1/work") == 0


def test_where_files_cannot_be_locked_training_works_all_the_same(
    connect: Connect, gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "fcntl", None)
    gateway.start_run(rounds=1)

    assert connect().train(trainer=line_trainer(), progress=False).state == "FINISHED"
