"""SCAFFOLD as a client takes part in it: its variates on disk, and what each step drifts by."""

import os
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from rondo import Invalid, RoundTask, Trained
from rondo.controls import Controls, Correction
from rondo.history import Attempt
from rondo.kept_vectors import RUNS_KEPT
from rondo.trainer import Weights
from rondo_core.layout import Layout, TensorSpec
from rondo_core.weights import Float32Array, decode
from tests.unit.rondo.fake_gateway import Connect, FakeGateway, Stopped, stop
from tests.unit.rondo.fake_rounds import Run
from tests.unit.rondo.linear import line_trainer

LAYOUT = Layout((TensorSpec("out/kernel", (2,)),))


class WatchedTrainer:
    """Trains in plain NumPy, and keeps what it was asked to do.

    Attributes:
        drifts: by round, flat.
    """

    def __init__(self) -> None:
        self.inner = line_trainer()
        self.drifts: list[Float32Array] = []

    def evaluate(self, weights: Weights) -> dict[str, float]:
        return self.inner.evaluate(weights)

    def train(self, weights: Weights, task: RoundTask) -> Trained:
        assert task.drift is not None
        self.drifts.append(flat(task.drift))
        return self.inner.train(weights, task)


def flat(arrays: Weights) -> Float32Array:
    return np.concatenate([np.ravel(array) for array in arrays.values()])


def scaffold(gateway: FakeGateway, rounds: int, population: int = 4) -> Run:
    run = gateway.start_run(rounds=rounds)
    run.population = population
    return run


def recursion(
    gateway: FakeGateway, updates: list[bytes], population: int
) -> list[NDArray[np.float64]]:
    """Return c - c_k of each round by the paper's Algorithm 1, of one client of N."""
    own = server = np.zeros(gateway.layout.size)
    drifts = []
    for data in updates:
        drifts.append(server - own)
        new = own - server - decode(data, gateway.layout) / 2.0  # 40 examples: 2 batches of 32
        own, server = new, server + (new - own) / population
    return drifts


def test_each_step_drifts_by_the_variates_of_the_papers_recursion(
    connect: Connect, gateway: FakeGateway
) -> None:
    scaffold(gateway, rounds=4)
    trainer = WatchedTrainer()

    result = connect().train(trainer=trainer, progress=False)

    assert result.state == "FINISHED"
    expected = recursion(gateway, gateway.updates, population=4)
    assert len(trainer.drifts) == 4
    np.testing.assert_allclose(trainer.drifts, expected, atol=1e-6)
    assert np.abs(expected[1:]).max() > 0.01


def test_nothing_of_a_run_is_left_when_it_is_over(
    connect: Connect, gateway: FakeGateway, home: Path
) -> None:
    scaffold(gateway, rounds=2)

    connect().train(trainer=WatchedTrainer(), progress=False)

    assert list(home.rglob("controls/**/*.safetensors")) == []


def test_two_runs_at_a_time_keep_apart_what_the_client_learned_in_them(
    connect: Connect, gateway: FakeGateway, home: Path
) -> None:
    class Alternating(WatchedTrainer):
        def train(self, weights: Weights, task: RoundTask) -> Trained:
            gateway.runs = dict(reversed(gateway.runs.items()))
            return super().train(weights, task)

    for name in ("run-1", "run-2"):
        gateway.start_run(rounds=3, run_id=name).population = 4
    trainer = Alternating()

    connect().train(trainer=trainer, progress=False, runs=2)

    assert {run.state for run in gateway.runs.values()} == {"FINISHED"}
    for nth in (0, 1):
        expected = recursion(gateway, gateway.updates[nth::2], population=4)
        np.testing.assert_allclose(trainer.drifts[nth::2], expected, atol=1e-6)
    assert list(home.rglob("controls/**/*.safetensors")) == []


def test_a_rejected_update_teaches_the_client_nothing(
    connect: Connect, gateway: FakeGateway
) -> None:
    scaffold(gateway, rounds=3)
    gateway.refuse[2, 1] = "norm"
    trainer = WatchedTrainer()

    connect().train(trainer=trainer, progress=False)

    counted = [gateway.updates[0], *gateway.updates[2:]]
    first, second, third = recursion(gateway, counted, population=4)
    np.testing.assert_allclose(trainer.drifts, [first, second, second, third], atol=1e-6)


def test_an_accepted_update_of_an_attempt_that_was_given_up_teaches_nothing_either(
    connect: Connect, gateway: FakeGateway
) -> None:
    run = scaffold(gateway, rounds=2)
    trainer = WatchedTrainer()
    gateway.gives_up.add((1, 1))

    result = connect().train(trainer=trainer, progress=False)

    assert [(one.round, one.attempt, one.verdict) for one in result.rounds] == [
        (1, 1, "accepted"),
        (1, 2, "accepted"),
        (2, 1, "accepted"),
    ]
    first, second = recursion(gateway, gateway.updates[1:], population=4)
    np.testing.assert_allclose(trainer.drifts, [first, first, second], atol=1e-6)
    assert run.attempts[1, 1].receipts[run.clients[0]].state == "ACCEPTED"


def test_a_client_that_is_killed_goes_on_with_the_same_variates(
    connect: Connect, gateway: FakeGateway
) -> None:
    scaffold(gateway, rounds=3)
    trainer = WatchedTrainer()
    line = "POST /v1/runs/run-1/rounds/2/attempts/1/update/report"
    gateway.fault(line, stop)

    with pytest.raises(Stopped):
        connect().train(trainer=trainer, progress=False)
    connect().train(trainer=trainer, progress=False)

    sent = list(dict.fromkeys(gateway.updates))
    assert len(sent) == len(trainer.drifts) == 3
    np.testing.assert_allclose(trainer.drifts, recursion(gateway, sent, 4), atol=1e-6)


def test_a_trainer_that_does_not_say_how_many_steps_it_took_is_told(
    connect: Connect, gateway: FakeGateway
) -> None:
    class Silent(WatchedTrainer):
        def train(self, weights: Weights, task: RoundTask) -> Trained:
            return super().train(weights, task)._replace(steps=None)

    scaffold(gateway, rounds=1)

    with pytest.raises(Invalid, match="train\\(\\) must say how many steps it took"):
        connect().train(trainer=Silent(), progress=False)


def test_other_runs_have_no_drift_and_ask_for_no_outcome(
    connect: Connect, gateway: FakeGateway
) -> None:
    gateway.start_run(rounds=2)
    seen: list[RoundTask] = []

    class Noting(WatchedTrainer):
        def train(self, weights: Weights, task: RoundTask) -> Trained:
            seen.append(task)
            return self.inner.train(weights, task)

    connect().train(trainer=Noting(), progress=False)

    assert [task.drift for task in seen] == [None, None]
    assert gateway.count("GET /v1/runs/run-1/rounds/1/attempts/1/outcome") == 0


def test_the_newest_variate_that_counted_is_taken_and_others_of_its_run_are_deleted(
    tmp_path: Path,
) -> None:
    controls = Controls(tmp_path)
    attempts = [Attempt("run-1", 1, 1), Attempt("run-1", 9, 1), Attempt("run-1", 10, 1)]
    for number, attempt in enumerate([*attempts, Attempt("other-run-1", 3, 1)]):
        controls.save(attempt, LAYOUT, np.full(2, number, np.float32))
    counts = {attempts[0], attempts[1]}

    found = controls.load(Attempt("run-1", 11, 1), LAYOUT, counted=counts.__contains__)

    assert found.tolist() == [1.0, 1.0]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "other-run-1-000003-01.safetensors",
        "run-1-000009-01.safetensors",
    ]


def test_a_newer_variate_that_may_still_count_is_kept_and_taken_when_it_does(
    tmp_path: Path,
) -> None:
    controls = Controls(tmp_path)
    first, second, third = (Attempt("run-1", round_, 1) for round_ in (1, 2, 3))
    for number, attempt in enumerate([first, second, third]):
        controls.save(attempt, LAYOUT, np.full(2, number, np.float32))
    answers: dict[Attempt, bool | None] = {first: True, second: None, third: False}

    before = controls.load(Attempt("run-1", 4, 1), LAYOUT, counted=answers.__getitem__)
    answers[second] = True
    after = controls.load(Attempt("run-1", 5, 1), LAYOUT, counted=answers.__getitem__)

    assert (before.tolist(), after.tolist()) == ([0.0, 0.0], [1.0, 1.0])
    assert [path.name for path in tmp_path.iterdir()] == ["run-1-000002-01.safetensors"]


def test_the_variates_of_the_newest_runs_whose_end_was_not_heard_are_kept(tmp_path: Path) -> None:
    controls = Controls(tmp_path)
    for age in range(RUNS_KEPT + 3):
        for round_ in (1, 2):
            controls.save(Attempt(f"run-{age}", round_, 1), LAYOUT, np.ones(2, np.float32))
            written = 1_000 - age if round_ == 2 else 0
            os.utime(tmp_path / f"run-{age}-{round_:06d}-01.safetensors", (written, written))

    controls.load(Attempt("run-10", 3, 1), LAYOUT, counted=lambda _: True)

    left = {path.name.rsplit("-", 2)[0] for path in tmp_path.iterdir()}
    assert left == {f"run-{age}" for age in range(RUNS_KEPT)} | {"run-10"}


def test_a_run_that_is_over_takes_only_its_own_variates_with_it(tmp_path: Path) -> None:
    controls = Controls(tmp_path)
    for name in ("run-1", "run-1-000001", "other-run-1"):
        controls.save(Attempt(name, 2, 1), LAYOUT, np.ones(2, np.float32))

    controls.drop("run-1")

    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "other-run-1-000002-01.safetensors",
        "run-1-000001-000002-01.safetensors",
    ]


def test_what_was_begun_for_the_attempt_itself_is_made_anew(tmp_path: Path) -> None:
    controls, attempt = Controls(tmp_path), Attempt("run-1", 2, 1)
    controls.save(attempt, LAYOUT, np.ones(2, np.float32))

    found = controls.load(attempt, LAYOUT, counted=lambda _: True)

    assert found.tolist() == [0.0, 0.0]
    assert list(tmp_path.iterdir()) == []


def test_option_two_of_the_paper_by_hand() -> None:
    # In the paper's units: lr 0.5, K 4, c_k 2, c 6, x - y 8: 2 - 6 + 8/(4 x 0.5) = 0.
    own, server, delta = (np.array([value], np.float32) for value in (0.5 * 2, 0.5 * 6, -8.0))
    correction = Correction(own, server)

    assert correction.drift.tolist() == [2.0]
    assert correction.after(delta, 4.0).tolist() == [0.5 * 0.0]
