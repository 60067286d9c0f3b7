"""Data owners and operators of the end-to-end tests, and an independent check of what they made."""

import json
import queue
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from localstack_client.session import Session
from numpy.typing import NDArray
from sklearn.datasets import load_digits

import rondo
from rondo.trainer import RoundTask, Weights
from rondo_core.aws import AwsPorts, connect
from rondo_core.keys import (
    ROUND_PREFIX,
    UPDATE_PREFIX,
    attempt_pk,
    run_key,
    run_pk,
    version_key,
)
from rondo_core.manifest import decode_manifest
from rondo_core.model_store import manifest_key, weights_key
from rondo_core.operator_wire import RunView
from rondo_core.rows import RoundRow, RunRow, UpdateRow, VersionRow, from_item
from rondo_core.weights import decode, digest, encode, layout_of_file
from rondo_local.stack import Stack

__all__ = [
    "Data",
    "Owner",
    "SoftmaxRegression",
    "await_run",
    "await_served",
    "digits",
    "owners_of",
    "people",
    "start_run",
]

PATIENCE_SECONDS = 240.0
SPEC = {
    "model": "scans",
    "input": {"kind": "image", "height": 8, "width": 8, "channels": 1, "maximum": 16},
    "layers": [
        {"kind": "Flatten", "name": "flat"},
        {"kind": "Dense", "name": "scores", "units": 10, "activation": "softmax"},
    ],
    "output": {"kind": "classes", "labels": [str(digit) for digit in range(10)]},
    "loss": "sparse_categorical_crossentropy",
    "metrics": ["accuracy"],
}


@dataclass(frozen=True, slots=True)
class Data:
    """Real scans: ``x`` float32 (n, 8, 8, 1), ``y`` int64 (n,)."""

    x: NDArray[np.float32]
    y: NDArray[np.int64]


def digits(part: int, parts: int) -> Data:
    """Return one of equal parts of scikit-learn's scans; all parts differ."""
    x, y = load_digits(return_X_y=True)
    chosen = slice(part, None, parts)
    return Data(x[chosen].astype(np.float32).reshape(-1, 8, 8, 1), y[chosen].astype(np.int64))


class SoftmaxRegression:
    """A trainer in plain NumPy for the one Dense layer of ``SPEC``.

    Args:
        data: the owner's own; every fifth picture is only measured on.
        before: called with the task before training: slows an owner down, or breaks it.
    """

    def __init__(self, data: Data, before: Callable[[RoundTask], object] = lambda _: None) -> None:
        held = np.arange(len(data.y)) % 5 == 0
        self._x, self._held = data.x.reshape(len(data.y), -1) / 16, held
        self._y = data.y
        self._before = before

    def evaluate(self, weights: Weights) -> Mapping[str, float]:
        x, y = self._x[self._held], self._y[self._held]
        scores = _softmax(x @ weights["scores/kernel"] + weights["scores/bias"])
        loss = -np.log(scores[np.arange(len(y)), y] + 1e-9).mean()
        return {
            "accuracy": float((scores.argmax(1) == y).mean()),
            "loss": float(loss),
            "examples": len(y),
        }

    def train(self, weights: Weights, task: RoundTask) -> tuple[Weights, int]:
        self._before(task)
        kernel, bias = weights["scores/kernel"].copy(), weights["scores/bias"].copy()
        x, y = self._x[~self._held], self._y[~self._held]
        for _ in range(30):
            error = _softmax(x @ kernel + bias) - np.eye(10, dtype=np.float32)[y]
            kernel -= np.float32(0.5) * (x.T @ error) / len(y)
            bias -= np.float32(0.5) * error.mean(axis=0)
        return {"scores/kernel": kernel, "scores/bias": bias}, len(y)


def _softmax(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float32)


@dataclass
class Owner:
    """A data owner in a thread."""

    name: str
    thread: threading.Thread
    ends: "queue.Queue[rondo.Result | BaseException]"

    def next_result(self) -> rondo.Result:
        """Wait for the end of the next run that this owner took part in."""
        end = self.ends.get(timeout=PATIENCE_SECONDS)
        if isinstance(end, BaseException):
            raise end
        return end


def people(
    stack: Stack,
    folder: Path,
    trainers: Mapping[str, rondo.Trainer],
    *,
    model: str = "scans",
    runs: int = 1,
) -> list[Owner]:
    """Register the model, invite and enrol all owners, and let them wait for work."""
    holdout = digits(0, 5)
    with rondo.Operator(stack.gateway_url, stack.operator_token) as operator:
        operator.register_model({**SPEC, "model": model}, holdout.x, holdout.y)
    return owners_of(stack, folder, trainers, model=model, runs=runs)


def owners_of(
    stack: Stack,
    folder: Path,
    trainers: Mapping[str, rondo.Trainer],
    *,
    model: str,
    runs: int = 1,
) -> list[Owner]:
    """Invite and enrol all owners of a registered model, and let them wait for work."""
    with rondo.Operator(stack.gateway_url, stack.operator_token) as operator:
        invites = operator.invites(model, len(trainers))
    owners = []
    for (name, trainer), invite in zip(trainers.items(), invites, strict=True):
        federation = rondo.connect(stack.gateway_url, invite=invite, name=name, home=folder / name)
        ends: queue.Queue[rondo.Result | BaseException] = queue.Queue()
        take_part = partial(_take_part, federation, trainer, ends, runs)
        owners.append(Owner(name, threading.Thread(target=take_part, daemon=True), ends))
        owners[-1].thread.start()
    return owners


def _take_part(
    federation: rondo.Federation,
    trainer: rondo.Trainer,
    ends: "queue.Queue[rondo.Result | BaseException]",
    runs: int,
) -> None:
    try:
        with federation:
            for _ in range(runs):
                ends.put(federation.train(trainer=trainer, progress=False))
    except BaseException as exc:  # noqa: BLE001  (the test's thread raises it)
        ends.put(exc)


def aws_session(stack: Stack) -> Session:
    """Return plain boto3 clients, as anybody's program would have them."""
    return Session(
        aws_access_key_id="test",
        aws_secret_access_key="test",
        region_name=stack.aws.region,
        localstack_host=stack.aws.endpoint_url.removeprefix("http://"),
    )


def start_run(stack: Stack, run_id: str, *, model: str = "scans", **options: Any) -> None:
    """Publish ``RunRequested`` with plain boto3, as anybody could."""
    message = run_requested(run_id, model=model, **options)
    with closing(aws_session(stack).client("sns")) as sns:
        (topic,) = [topic["TopicArn"] for topic in sns.list_topics()["Topics"]]
        sns.publish(TopicArn=topic, Message=json.dumps(message))


def run_requested(run_id: str, **data: Any) -> dict[str, Any]:
    """Return the message that starts a run."""
    return {
        "specversion": "1.0",
        "id": run_id,
        "source": "test",
        "type": "RunRequested",
        "time": datetime.now(UTC).isoformat(),
        "subject": run_id,
        "data": data,
    }


def await_run(stack: Stack, run_id: str, until: Callable[[RunView], bool]) -> RunView:
    """Poll the gateway until the run is as wanted."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    view: RunView | None = None
    with rondo.Operator(stack.gateway_url, stack.operator_token) as operator:
        while time.monotonic() < deadline:
            with suppress(rondo.NotFound):  # the message is still on its way
                view = operator.run(run_id)
            if view is not None and until(view):
                return view
            time.sleep(0.05)
    raise AssertionError(f"run {run_id} is still {view}")


def await_served(stack: Stack, version: int, *, model: str = "scans") -> None:
    """Wait until every replica serves a version."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    for url in stack.inference_urls:
        while _served_by(url, model) != version:
            assert time.monotonic() < deadline, f"{url} does not serve version {version}"
            time.sleep(0.1)


def _served_by(url: str, model: str) -> int | None:
    answer = httpx.get(f"{url}/v1/models/{model}")
    if answer.status_code != httpx.codes.OK:
        return None
    return max(int(status["version"]) for status in answer.json()["model_version_status"])


def check_every_round(stack: Stack, run_id: str) -> int:
    """Recompute all versions of a run from the raw uploads; return how many updates counted.

    Every ACCEPTED row of a committed round is in its manifest exactly once, and the committed
    bytes are the float64 mean of exactly these updates, bit for bit.
    """
    with closing(connect(stack.settings)) as ports:
        item = ports.run_store.get(run_key(run_id))
        assert item is not None
        rounds = from_item(item, RunRow).rounds
        return sum(_check_round(ports, run_id, number) for number in range(1, rounds + 1))


def _check_round(ports: AwsPorts, run_id: str, number: int) -> int:
    rows = ports.run_store.query(run_pk(run_id), f"{ROUND_PREFIX}{number:06d}")
    attempts = [from_item(row, RoundRow) for row in rows]
    (committed,) = [attempt for attempt in attempts if attempt.state == "COMMITTED"]
    where = attempt_pk(run_id, number, committed.attempt)
    rows = ports.run_store.query(where, UPDATE_PREFIX)
    updates = [from_item(row, UpdateRow) for row in rows]
    accepted = {update.client_id: update for update in updates if update.state == "ACCEPTED"}
    assert committed.manifest is not None
    manifest = decode_manifest(ports.model_store.get(manifest_key(committed.manifest)))
    assert [entry.client_id for entry in manifest.updates] == sorted(accepted)
    base = ports.model_store.get(weights_key(manifest.base))
    layout = layout_of_file(base)
    total = np.zeros(layout.size, np.float64)
    for entry in manifest.updates:
        delta = ports.model_store.get(entry.key)
        assert digest(delta) == entry.sha256 == accepted[entry.client_id].sha256
        total += entry.examples * decode(delta, layout).astype(np.float64)
    examples = sum(entry.examples for entry in manifest.updates)
    mean = decode(base, layout).astype(np.float64) + total / examples
    made = from_item(ports.run_store.get(version_key(run_id, number)) or {}, VersionRow)
    assert digest(encode(layout, mean.astype(np.float32))) == made.sha256
    assert ports.model_store.get(weights_key(made.sha256)) == encode(
        layout, mean.astype(np.float32)
    )
    return len(manifest.updates)
