"""From an SNS message to a served prediction: every service a process, every call real."""

import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

import rondo
from rondo_core.aws import connect
from rondo_core.model_store import weights_key
from rondo_core.operator_wire import ModelView
from rondo_core.weights import decode, layout_of_file
from rondo_local.stack import Stack
from tests.e2e.people import (
    Owner,
    SoftmaxRegression,
    await_served,
    check_every_round,
    digits,
    people,
    start_run,
)

pytestmark = pytest.mark.timeout(600)


@dataclass
class Hammer:
    """Asks every replica for predictions, on and on, and keeps what was answered."""

    answers: list[tuple[str, int, str]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def ask(self, url: str, body: dict[str, object]) -> None:
        try:
            answer = httpx.post(f"{url}/v1/models/scans:predict", json=body, timeout=30)
            version = answer.headers["X-Rondo-Version"]
            self.answers.append((url, answer.status_code, version))
        except (httpx.HTTPError, KeyError) as exc:
            self.failures.append(repr(exc))


@contextmanager
def hammering(stack: Stack, pictures: NDArray[np.float32]) -> Iterator[Hammer]:
    hammer, stop = Hammer(), threading.Event()
    body: dict[str, object] = {"instances": pictures.tolist()}

    def run(url: str) -> None:
        while not stop.is_set():
            hammer.ask(url, body)

    threads = [threading.Thread(target=run, args=(url,)) for url in stack.inference_urls]
    for thread in threads:
        thread.start()
    try:
        yield hammer
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def expected_classes(stack: Stack, model: ModelView, x: NDArray[np.float32]) -> NDArray[np.int64]:
    """Compute in NumPy, from the committed bytes, what inference must answer."""
    with rondo.Operator(stack.gateway_url, stack.operator_token) as operator:
        versions = operator.run(model.champion_run or "").versions
    with closing(connect(stack.settings)) as ports:
        data = ports.model_store.get(weights_key(versions[-1].sha256))
    layout = layout_of_file(data)
    arrays = layout.to_arrays(decode(data, layout))
    scores = x.reshape(len(x), -1) / 16 @ arrays["scores/kernel"] + arrays["scores/bias"]
    return np.asarray(scores.argmax(axis=1))


def run_once(stack: Stack, owners: list[Owner], run_id: str) -> ModelView:
    """Start a run by one message and return the model as it stands afterwards."""
    start_run(stack, run_id, rounds=3, target=len(owners), quorum=len(owners))
    results = [owner.next_result() for owner in owners]
    assert {result.state for result in results} == {"FINISHED"}
    assert all(entry.verdict == "accepted" for result in results for entry in result.rounds)
    with rondo.Operator(stack.gateway_url, stack.operator_token) as operator:
        return operator.model("scans")


def two_owners(stack: Stack, folder: Path, *, runs: int) -> list[Owner]:
    trainers = {
        "north": SoftmaxRegression(digits(1, 5)),
        "south": SoftmaxRegression(digits(2, 5)),
    }
    return people(stack, folder, trainers, runs=runs)


def check_predictions(stack: Stack, model: ModelView) -> None:
    """Every replica answers the whole holdout as NumPy does, and names version and lineage."""
    holdout = digits(0, 5)
    expected = expected_classes(stack, model, holdout.x)
    assert len(stack.inference_urls) == 2
    for url in stack.inference_urls:
        body = {"instances": holdout.x.tolist()}
        answer = httpx.post(f"{url}/v1/models/scans:predict", json=body, timeout=30)
        assert answer.headers["X-Rondo-Version"] == str(model.champion)
        assert answer.headers["X-Rondo-Run"] == f"{model.champion_run}/3"
        guesses = np.array(answer.json()["predictions"]).argmax(axis=1)
        assert guesses.tolist() == expected.tolist()


def test_a_message_becomes_a_prediction_and_the_next_promotion_drops_no_request(
    stack: Stack, tmp_path: Path
) -> None:
    owners = two_owners(stack, tmp_path, runs=2)

    first = run_once(stack, owners, "loop-1")
    await_served(stack, 1)

    assert (first.champion, first.champion_run) == (1, "loop-1")
    assert first.metrics["accuracy"] > 0.8
    assert check_every_round(stack, "loop-1") == 6
    check_predictions(stack, first)

    with hammering(stack, digits(0, 5).x[:4]) as hammer:
        second = run_once(stack, owners, "loop-2")
        await_served(stack, 2)
        time.sleep(0.5)

    assert (second.champion, second.champion_run) == (2, "loop-2")
    assert hammer.failures == []
    assert {status for _, status, _ in hammer.answers} == {200}
    for url in stack.inference_urls:
        versions = [version for answered, _, version in hammer.answers if answered == url]
        assert versions == sorted(versions), "a replica went back to an older version"
        assert set(versions) == {"1", "2"}
    check_predictions(stack, second)


def test_the_same_loop_runs_on_localstack(localstack_stack: Stack, tmp_path: Path) -> None:
    owners = two_owners(localstack_stack, tmp_path, runs=1)

    model = run_once(localstack_stack, owners, "loop-1")
    await_served(localstack_stack, 1)

    assert check_every_round(localstack_stack, "loop-1") == 6
    check_predictions(localstack_stack, model)
