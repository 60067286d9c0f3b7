"""A client's part in a run: what it measures, trains, sends and hears."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rondo import Invalid, RoundTask, Trained
from rondo_core.errors import LayoutMismatch
from tests.unit.rondo.fake_gateway import Connect, FakeGateway
from tests.unit.rondo.linear import CountingTrainer, line_trainer

REPORT = r"POST .*/report"


def test_a_run_ends_with_every_round_accepted_and_the_model_learned(
    connect: Connect, gateway: FakeGateway
) -> None:
    gateway.start_run(rounds=20, epochs=5)

    result = connect().train(trainer=line_trainer(), progress=False)

    assert result.state == "FINISHED"
    assert result.promoted
    assert [entry.round for entry in result.rounds] == list(range(1, 21))
    assert {entry.verdict for entry in result.rounds} == {"accepted"}
    assert result.rounds[-1].metrics["loss"] < 1e-3 < result.rounds[0].metrics["loss"]
    np.testing.assert_allclose(gateway.runs["run-1"].versions[-1], [2, -1, 1], atol=0.01)


def test_each_round_measures_the_received_version_and_learns_the_federations_a_round_later(
    connect: Connect, gateway: FakeGateway
) -> None:
    gateway.start_run(rounds=3)

    rounds = connect().train(trainer=line_trainer(), progress=False).rounds

    assert [entry.federation for entry in rounds[:2]] == [entry.metrics for entry in rounds[:2]]
    assert rounds[2].federation == {}
    assert {entry.metrics["examples"] for entry in rounds} == {10.0}
    assert {entry.examples for entry in rounds} == {40}


def test_an_update_is_the_difference_behind_exactly_the_base_files_header(
    connect: Connect, gateway: FakeGateway
) -> None:
    run = gateway.start_run(rounds=1)

    connect().train(trainer=line_trainer(), progress=False)

    (update,) = gateway.updates
    assert update.startswith(gateway.layout.prefix)
    delta = np.frombuffer(update, np.float32, offset=gateway.layout.data_offset)
    np.testing.assert_array_equal(run.versions[0] + delta, run.versions[1])


def test_the_runs_training_parameters_reach_the_trainer(
    connect: Connect, gateway: FakeGateway
) -> None:
    seen: list[RoundTask] = []

    class Noting(CountingTrainer):
        def train(self, weights: Mapping[str, Any], task: Any) -> tuple[Mapping[str, Any], int]:
            seen.append(task)
            return super().train(weights, task)

    gateway.start_run(rounds=2, epochs=3, learning_rate=0.5)

    connect().train(trainer=Noting(), progress=False)

    assert [(task.round, task.rounds, task.seed) for task in seen] == [(1, 2, 1), (2, 2, 2)]
    assert seen[0].training == {"epochs": 3, "learning_rate": 0.5}


def test_a_trainer_can_be_made_from_the_runs_model_spec(
    connect: Connect, gateway: FakeGateway
) -> None:
    gateway.start_run(rounds=2)
    specs = []

    def make(spec: Any) -> CountingTrainer:
        specs.append(spec)
        return CountingTrainer()

    connect().train(trainer=make, progress=False)

    assert specs == [gateway.spec]
    assert gateway.count("GET /v1/models/line/specs/") == 1


def test_a_round_that_was_sealed_without_the_client_is_late_and_the_next_one_counts(
    connect: Connect, gateway: FakeGateway
) -> None:
    gateway.start_run(rounds=3)
    gateway.late = {2}

    result = connect().train(trainer=line_trainer(), progress=False)

    assert [entry.verdict for entry in result.rounds] == ["accepted", "late", "accepted"]
    assert "takes no more updates" in (result.rounds[1].reason or "")


def test_an_update_judged_late_after_its_report_is_late(
    connect: Connect, gateway: FakeGateway
) -> None:
    gateway.start_run(rounds=1)
    gateway.refuse = {(1, 1): "late"}

    result = connect().train(trainer=line_trainer(), progress=False)

    assert [(entry.attempt, entry.verdict) for entry in result.rounds] == [
        (1, "late"),
        (2, "accepted"),
    ]


def test_a_rejected_update_is_shown_with_its_reason_and_the_next_attempt_is_made(
    connect: Connect, gateway: FakeGateway
) -> None:
    gateway.start_run(rounds=2)
    gateway.refuse = {(1, 1): "norm-too-large"}

    result = connect().train(trainer=line_trainer(), progress=False)

    assert [(entry.round, entry.attempt, entry.verdict) for entry in result.rounds] == [
        (1, 1, "rejected"),
        (1, 2, "accepted"),
        (2, 1, "accepted"),
    ]
    assert result.rounds[0].reason == "as scripted"


def test_weights_that_are_not_finite_are_handed_in_so_that_the_round_need_not_wait(
    connect: Connect, gateway: FakeGateway
) -> None:
    class Diverging(CountingTrainer):
        def evaluate(self, weights: Mapping[str, Any]) -> Mapping[str, float]:
            return {**super().evaluate(weights), "loss": float("nan")}

        def train(self, weights: Mapping[str, Any], task: Any) -> tuple[Mapping[str, Any], int]:
            del task
            return {name: array * np.nan for name, array in weights.items()}, 1

    gateway.start_run(rounds=1)

    result = connect().train(trainer=Diverging(), progress=False)

    assert result.state == "FAILED"
    assert not result.promoted
    assert [entry.verdict for entry in result.rounds] == ["rejected", "rejected"]
    assert result.rounds[0].reason == "out/kernel at [0, 0] is nan, not a finite number"
    assert result.rounds[0].metrics == {"examples": 10.0}


def test_a_second_run_follows_where_it_is_asked_for(connect: Connect, gateway: FakeGateway) -> None:
    gateway.start_run(rounds=1)
    federation = connect()
    federation.train(trainer=line_trainer(), progress=False)
    gateway.start_run(rounds=2, run_id="run-2")
    gateway.start_run(rounds=1, run_id="run-3")

    result = federation.train(trainer=line_trainer(), progress=False, runs=2)

    assert result.run_id == "run-3"
    assert [entry.run_id for entry in result.rounds] == ["run-3"]
    assert gateway.runs["run-2"].state == "FINISHED"


def test_endless_training_ends_only_by_being_stopped(
    connect: Connect, gateway: FakeGateway
) -> None:
    gateway.start_run(rounds=1)

    with pytest.raises(AssertionError, match="never comes"):
        connect().train(trainer=line_trainer(), progress=False, runs=None)

    assert gateway.runs["run-1"].state == "FINISHED"


class Broken(CountingTrainer):
    def __init__(self, metrics: dict[str, float], weights: dict[str, Any], examples: int) -> None:
        super().__init__()
        self.answer = metrics, weights, examples

    def evaluate(self, weights: Mapping[str, Any]) -> Mapping[str, float]:
        del weights
        return self.answer[0]

    def train(self, weights: Mapping[str, Any], task: Any) -> tuple[Mapping[str, Any], int]:
        del task
        return {**weights, **self.answer[1]}, self.answer[2]


@pytest.mark.parametrize(
    ("trainer", "error", "text"),
    [
        (Broken({"loss": 1.0}, {}, 1), Invalid, "'examples' must be there"),
        (Broken({"examples": 0.0}, {}, 1), Invalid, "'examples' must be there"),
        (Broken({"examples": 1.0}, {}, 0), Invalid, "at least 1"),
        (Broken({"examples": 1.0}, {"more/kernel": np.zeros(1)}, 1), LayoutMismatch, "more/kernel"),
        (
            Broken({"examples": 1.0}, {"out/bias": np.zeros(2, np.float32)}, 1),
            LayoutMismatch,
            "out/bias: shape",
        ),
    ],
)
def test_a_trainer_that_breaks_its_contract_is_told_how(
    connect: Connect, gateway: FakeGateway, trainer: Broken, error: type[Exception], text: str
) -> None:
    gateway.start_run(rounds=1)

    with pytest.raises(error, match=text):
        connect().train(trainer=trainer, progress=False)

    assert gateway.count("PUT") == 0


class Stepping:
    def __init__(self, steps: Any) -> None:
        self.inner = line_trainer()
        self.steps = steps

    def evaluate(self, weights: Mapping[str, Any]) -> Mapping[str, float]:
        return self.inner.evaluate(weights)

    def train(self, weights: Mapping[str, Any], task: RoundTask) -> Trained:
        return self.inner.train(weights, task)._replace(steps=self.steps)


@pytest.mark.parametrize(
    ("steps", "text"),
    [
        (None, r"train\(\) must say how many steps it took"),
        (0, r"train\(\) gave 0 steps: a number from 1 to 1e\+09 is needed"),
        (0.5, "gave 0.5 steps"),
        (float("nan"), "gave nan steps"),
        (float("inf"), "gave inf steps"),
        (2e9, r"gave 2000000000\.0 steps"),
        ("many", "gave 'many' steps"),
        ([1.0], r"gave \[1\.0\] steps"),
    ],
)
def test_steps_that_no_declaration_takes_are_told_of_before_anything_is_written(
    connect: Connect, gateway: FakeGateway, home: Path, steps: Any, text: str
) -> None:
    gateway.start_run(rounds=1).divides = True

    with pytest.raises(Invalid, match=text):
        connect().train(trainer=Stepping(steps), progress=False)

    assert list(home.glob("**/updates/*")) == []
    assert gateway.count("PUT") == 0


@pytest.mark.parametrize("steps", [3, np.float32(3), np.int64(3), np.array(3.0)])
def test_steps_may_be_any_scalar(connect: Connect, gateway: FakeGateway, steps: Any) -> None:
    run = gateway.start_run(rounds=1)
    run.divides = True

    connect().train(trainer=Stepping(steps), progress=False)

    assert [one.steps for one in run.attempts[1, 1].declared.values()] == [3.0]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({}, "either x and y, or a trainer"),
        ({"x": [[1.0]]}, "either x and y, or a trainer"),
        ({"x": [[1.0]], "y": [1.0], "trainer": line_trainer()}, "not both"),
        ({"trainer": object()}, "has not the methods"),
        ({"trainer": line_trainer(), "runs": 0}, "runs 0"),
    ],
)
def test_train_says_what_it_needs(connect: Connect, arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(Invalid, match=text):
        connect().train(progress=False, **arguments)
