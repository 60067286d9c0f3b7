"""A model of a table, trained and promoted: what it refuses to predict, and what it says then."""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import httpx
import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer

import rondo
from rondo.trainer import RoundTask, Weights
from rondo_local.stack import Stack
from tests.e2e.people import await_served, owners_of, start_run

pytestmark = pytest.mark.timeout(600)

Cells = list[list[str]]
"""A CSV, its header first."""

SCANS = load_breast_cancer()
COLUMNS = [str(name) for name in SCANS.feature_names]
SPEC = {
    "model": "cells",
    "input": {
        "kind": "table",
        "columns": [
            {"kind": "number", "name": name, "mean": float(mean), "std": float(std)}
            for name, mean, std in zip(
                COLUMNS, SCANS.data.mean(axis=0), SCANS.data.std(axis=0), strict=True
            )
        ],
    },
    "layers": [{"kind": "Dense", "name": "score", "units": 1, "activation": "sigmoid"}],
    "output": {"kind": "classes", "labels": [str(name) for name in SCANS.target_names]},
    "loss": "binary_crossentropy",
    "metrics": ["accuracy"],
}


class LogisticRegression:
    """A trainer in plain NumPy for the one Dense layer of ``SPEC``."""

    def __init__(self) -> None:
        self._x = ((SCANS.data - SCANS.data.mean(axis=0)) / SCANS.data.std(axis=0))[::2]
        self._y = SCANS.target[::2, None]

    def evaluate(self, weights: Weights) -> Mapping[str, float]:
        hits = (self._scores(weights) > 0) == (self._y > 0)
        return {"accuracy": float(hits.mean()), "examples": len(self._y)}

    def train(self, weights: Weights, task: RoundTask) -> tuple[Weights, int]:
        del task
        kernel, bias = weights["score/kernel"], weights["score/bias"]
        for _ in range(100):
            scores = self._scores({"score/kernel": kernel, "score/bias": bias})
            error = 1 / (1 + np.exp(-scores)) - self._y
            kernel = kernel - self._x.T @ error / len(self._y)
            bias = bias - error.mean(axis=0)
        trained = {"score/kernel": kernel, "score/bias": bias}
        return {name: array.astype(np.float32) for name, array in trained.items()}, len(self._y)

    def _scores(self, weights: Weights) -> np.ndarray:
        return np.asarray(self._x @ weights["score/kernel"] + weights["score/bias"])


@pytest.fixture(scope="module")
def served(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Stack:
    """The stack, when every replica serves what was trained."""
    with rondo.Operator(stack.gateway_url, stack.operator_token) as operator:
        operator.register_model(SPEC, SCANS.data[1::2], SCANS.target_names[SCANS.target[1::2]])
    folder = tmp_path_factory.mktemp("cells")
    (owner,) = owners_of(stack, folder, {"clinic": LogisticRegression()}, model="cells")
    start_run(stack, "cells-1", model="cells", rounds=1, target=1)
    assert owner.next_result().promoted
    await_served(stack, 1, model="cells")
    return stack


def patients(count: int) -> Cells:
    """Return a header and the first real rows."""
    return [COLUMNS, *([str(value) for value in row] for row in SCANS.data[:count])]


def without_column(rows: Cells) -> Cells:
    return [row[1:] for row in rows]


def with_word(rows: Cells) -> Cells:
    return [*rows[:2], [*rows[2][:4], "large", *rows[2][5:]], *rows[3:]]


def with_short_row(rows: Cells) -> Cells:
    return [*rows[:3], rows[3][:-1]]


def with_nothing_below(rows: Cells) -> Cells:
    return rows[:1]


class BadTable(NamedTuple):
    """How a good CSV is spoilt, and what the answer says of it."""

    spoil: Callable[[Cells], Cells]
    message: str


TABLES = {
    "missing-column": BadTable(
        without_column, "the CSV's header lacks column 'mean radius'; it has 'mean texture'"
    ),
    "word-in-a-number-column": BadTable(with_word, "row 1, column 'mean smoothness': 'large'"),
    "short-row": BadTable(with_short_row, "row 2: 29 cells, but the header has 30"),
    "no-row": BadTable(with_nothing_below, "the CSV has a header but no row"),
}


def ask(url: str, rows: Sequence[Sequence[str]]) -> httpx.Response:
    """Post a CSV as SageMaker's callers do."""
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return invoke(url, "text/csv", text.getvalue().encode())


def invoke(url: str, media: str, body: bytes) -> httpx.Response:
    headers = {"Content-Type": media, "X-Amzn-SageMaker-Target-Model": "cells"}
    return httpx.post(f"{url}/invocations", content=body, headers=headers, timeout=60)


@pytest.mark.parametrize("case", TABLES)
def test_table_that_breaks_a_rule_is_refused_with_row_column_and_value(
    served: Stack, case: str
) -> None:
    for url in served.inference_urls:
        answer = ask(url, TABLES[case].spoil(patients(3)))

        assert answer.status_code == httpx.codes.BAD_REQUEST
        assert TABLES[case].message in answer.text


def test_empty_body_is_refused(served: Stack) -> None:
    for media, message in (("text/csv", "the CSV is empty"), ("application/json", "empty")):
        answer = invoke(served.inference_urls[0], media, b"")

        assert answer.status_code == httpx.codes.BAD_REQUEST
        assert message in answer.text


def test_good_rows_are_answered_after_all_that(served: Stack) -> None:
    for url in served.inference_urls:
        answer = ask(url, patients(20))

        assert answer.headers["X-Rondo-Version"] == "1"
        answered = list(csv.DictReader(io.StringIO(answer.text)))
        expected = SCANS.target_names[SCANS.target[:20]]
        right = [row["label"] == name for row, name in zip(answered, expected, strict=True)]
        assert sum(right) >= 18


def test_spec_with_a_layer_that_is_not_allowed_is_refused_and_nothing_is_registered(
    stack: Stack,
) -> None:
    layer = {"kind": "Lambda", "name": "trick", "function": "__import__('os').system('true')"}
    spec = {**SPEC, "model": "tricky", "layers": [layer, *SPEC["layers"]]}
    claim = {"sha256": "0" * 64, "size": 100}
    body = {"spec": spec, "header": "{}", "initial": claim, "holdout": claim}
    headers = {"Authorization": f"Bearer {stack.operator_token}"}

    answer = httpx.post(
        f"{stack.gateway_url}/v1/models/tricky/specs", json=body, headers=headers, timeout=60
    )

    assert answer.status_code == httpx.codes.UNPROCESSABLE_ENTITY
    message = answer.json()["message"]
    assert message.startswith("Invalid value 'Lambda'; allowed: AveragePooling2D, Conv2D, Dense")
    assert message.endswith("at `$.spec.layers[0].kind`")
    missing = httpx.get(f"{stack.gateway_url}/v1/models/tricky", headers=headers)
    assert missing.status_code == httpx.codes.NOT_FOUND
