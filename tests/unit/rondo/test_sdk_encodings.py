"""Encoded updates as a client sends them: the bytes of its run's encoding, and error feedback."""

from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
import pytest

from rondo import RoundTask, Trained
from rondo.encoded import encoded
from rondo.trainer import Weights
from rondo_core.encodings import decode, form_of
from rondo_core.layout import Float32Array, Layout, TensorSpec
from tests.unit.rondo.fake_gateway import Connect, FakeGateway, Stopped, stop
from tests.unit.rondo.fake_rounds import Run
from tests.unit.rondo.linear import line_trainer

TOP_K = "top-k:0.34"  # one column of three


class WatchedTrainer:
    """Trains in plain NumPy, and keeps what it learned.

    Attributes:
        deltas: one a call, flat.
    """

    def __init__(self) -> None:
        self.inner = line_trainer()
        self.deltas: list[Float32Array] = []

    def evaluate(self, weights: Weights) -> dict[str, float]:
        return self.inner.evaluate(weights)

    def train(self, weights: Weights, task: RoundTask) -> Trained:
        trained = self.inner.train(weights, task)
        self.deltas.append(flat(trained.weights) - flat(weights))
        return trained


def flat(arrays: Weights) -> Float32Array:
    return np.concatenate([np.ravel(array) for array in arrays.values()])


def start(gateway: FakeGateway, encoding: str, rounds: int = 3) -> Run:
    run = gateway.start_run(rounds=rounds)
    run.encoding = encoding
    return run


def sent(gateway: FakeGateway, encoding: str) -> list[Float32Array]:
    return [decode(data, gateway.layout, encoding) for data in dict.fromkeys(gateway.updates)]


def feedback(deltas: list[Float32Array], keep: Callable[[int], bool]) -> list[Float32Array]:
    """What each update is to stand for: the column with the largest sum of delta and residual."""
    left, updates = np.zeros_like(deltas[0]), []
    for number, delta in enumerate(deltas):
        wanted = delta + left
        update = np.where(np.abs(wanted) == np.abs(wanted).max(), wanted, np.float32(0))
        updates.append(update)
        left = wanted - update if keep(number) else left
    return updates


@pytest.mark.parametrize("encoding", ["float32", "float16", "bfloat16", "int8"])
def test_a_client_sends_what_it_learned_in_its_runs_encoding(
    connect: Connect, gateway: FakeGateway, encoding: str
) -> None:
    start(gateway, encoding)
    trainer = WatchedTrainer()

    result = connect().train(trainer=trainer, progress=False)

    assert [one.verdict for one in result.rounds] == ["accepted"] * 3
    assert {len(data) for data in gateway.updates} == {form_of(gateway.layout, encoding).size_bytes}
    for update, delta in zip(sent(gateway, encoding), trainer.deltas, strict=True):
        np.testing.assert_allclose(update, delta, atol=np.abs(delta).max() / 100)
    if encoding == "float32":
        assert np.array_equal(sent(gateway, encoding), trainer.deltas)


def test_what_top_k_leaves_out_is_sent_later(connect: Connect, gateway: FakeGateway) -> None:
    start(gateway, TOP_K, rounds=6)
    trainer = WatchedTrainer()

    connect().train(trainer=trainer, progress=False)

    updates = sent(gateway, TOP_K)
    assert np.array_equal(updates, feedback(trainer.deltas, lambda _: True))
    assert len({tuple(np.flatnonzero(update)) for update in updates}) > 1


def test_what_an_update_that_was_refused_left_out_is_forgotten(
    connect: Connect, gateway: FakeGateway
) -> None:
    start(gateway, TOP_K, rounds=3)
    gateway.refuse[2, 1] = "norm"
    trainer = WatchedTrainer()

    connect().train(trainer=trainer, progress=False)

    assert len(trainer.deltas) == 4
    assert np.array_equal(sent(gateway, TOP_K)[0], feedback(trainer.deltas, lambda _: True)[0])
    counted = [trainer.deltas[0], *trainer.deltas[2:]]
    assert np.array_equal(sent(gateway, TOP_K)[-2:], feedback(counted, lambda _: True)[1:])


def test_an_accepted_update_of_an_attempt_that_was_given_up_leaves_the_older_residual(
    connect: Connect, gateway: FakeGateway
) -> None:
    start(gateway, TOP_K, rounds=3)
    gateway.gives_up.add((2, 1))
    trainer = WatchedTrainer()

    connect().train(trainer=trainer, progress=False)

    expected = feedback(trainer.deltas, lambda number: number != 1)
    found = [decode(data, gateway.layout, TOP_K) for data in gateway.updates]
    assert np.array_equal(found, expected)


def test_what_an_update_left_out_that_was_not_judged_yet_is_kept_until_it_is(
    connect: Connect, gateway: FakeGateway
) -> None:
    start(gateway, TOP_K, rounds=2)
    gateway.refuse[2, 1] = "norm"
    waiting = {"round_state": "OPEN", "update_state": "REPORTED"}
    gateway.fault("GET .*/rounds/1/.*outcome", lambda _: httpx.Response(200, json=waiting))
    trainer = WatchedTrainer()

    connect().train(trainer=trainer, progress=False)

    first, refused, last = trainer.deltas
    updates = [decode(data, gateway.layout, TOP_K) for data in gateway.updates]
    assert np.array_equal(updates[1], feedback([refused], lambda _: True)[0])
    assert np.array_equal(updates[::2], feedback([first, last], lambda _: True))


@pytest.mark.parametrize("encoding", ["int8", TOP_K])
@pytest.mark.parametrize("call", ["PUT /v1/runs/run-1/rounds/2/attempts/1/update", "report"])
def test_a_client_that_is_killed_sends_the_same_bytes(
    connect: Connect, gateway: FakeGateway, encoding: str, call: str
) -> None:
    start(gateway, encoding)
    trainer = WatchedTrainer()
    line = call if call != "report" else "POST /v1/runs/run-1/rounds/2/attempts/1/update/report"
    gateway.fault(line, stop)

    with pytest.raises(Stopped):
        connect().train(trainer=trainer, progress=False)
    connect().train(trainer=trainer, progress=False)

    assert len(trainer.deltas) == len(sent(gateway, encoding)) == 3
    if encoding == TOP_K:
        assert np.array_equal(sent(gateway, TOP_K), feedback(trainer.deltas, lambda _: True))


def test_a_seed_decides_what_is_drawn() -> None:
    form = form_of(Layout((TensorSpec("a/b", (1000,)),)), "int8")
    delta = np.linspace(0, 1, 1000, dtype=np.float32)

    one, same, other = (encoded(form, delta, seed) for seed in ((5, 1), (5, 1), (5, 2)))

    assert one.data == same.data
    assert one.data != other.data


def test_nothing_of_a_run_is_left_when_it_is_over(
    connect: Connect, gateway: FakeGateway, home: Path
) -> None:
    start(gateway, TOP_K)
    seen: list[int] = []

    class Looking(WatchedTrainer):
        def train(self, weights: Weights, task: RoundTask) -> Trained:
            seen.append(len(list(home.rglob("residuals/*.safetensors"))))
            return super().train(weights, task)

    connect().train(trainer=Looking(), progress=False)

    assert seen[-1] > 0
    assert list(home.rglob("residuals/*.safetensors")) == []


def test_scaffold_learns_from_what_its_update_stands_for(
    connect: Connect, gateway: FakeGateway
) -> None:
    run = start(gateway, "int8")
    run.population = 1
    drifts: list[Float32Array] = []

    class Noting(WatchedTrainer):
        def train(self, weights: Weights, task: RoundTask) -> Trained:
            assert task.drift is not None
            drifts.append(flat(task.drift))
            return super().train(weights, task)

    connect().train(trainer=Noting(), progress=False)

    # one client of one: the server's variate is the client's, and so there is no drift
    np.testing.assert_allclose(drifts, np.zeros_like(drifts), atol=1e-7)
