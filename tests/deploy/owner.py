"""An operator and a data owner in one program, run where only the bare SDK is installed.

``python owner.py GATEWAY TOKEN HOME``: registers a model, joins, trains one round of one run in
NumPy, and prints how the run ended.
"""

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

import rondo

SPEC = {
    "model": "line",
    "input": {"kind": "table", "columns": [{"kind": "number", "name": "a"}]},
    "layers": [{"kind": "Dense", "name": "out", "units": 1}],
    "output": {"kind": "number", "name": "y"},
    "loss": "mean_squared_error",
    "metrics": ["mean_absolute_error"],
}


def step(
    weights: Mapping[str, Any], x: Any, y: Any, parameters: Mapping[str, Any]
) -> dict[str, Any]:
    """Take one step of gradient descent."""
    error = x @ weights["out/kernel"] + weights["out/bias"] - y
    rate = parameters["learning_rate"]
    return {
        "out/kernel": weights["out/kernel"] - rate * x.T @ error / len(x),
        "out/bias": weights["out/bias"] - rate * error.mean(axis=0),
    }


def evaluate(weights: Mapping[str, Any], x: Any, y: Any) -> dict[str, float]:
    """Measure a version."""
    error = x @ weights["out/kernel"] + weights["out/bias"] - y
    return {"loss": float(np.mean(error**2))}


def main(gateway: str, token: str, home: str) -> None:
    """Do all of it; blocks until the run is over."""
    x = np.linspace(-1, 1, 40, dtype=np.float32).reshape(-1, 1)
    y = 2 * x + 1
    trainer = rondo.NumpyTrainer(
        x, y, step=step, evaluate=evaluate, parameters={"learning_rate": 0.1}
    )
    with rondo.Operator(gateway, token) as operator:
        operator.register_model(SPEC, x, y)
        (invite,) = operator.invites("line")
        operator.start_run("line", rounds=1, target=1, quorum=1)
    with rondo.connect(gateway, invite, "owner", home=home) as federation:
        result = federation.train(trainer=trainer, progress=False)
    sys.stdout.write(f"{result.state}: {result.reason}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
