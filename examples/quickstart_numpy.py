"""Quickstart for a data owner without any framework: the same model, trained in plain NumPy.

Needs a gateway at RONDO_URL, and an invite to the model that `quickstart_operator.py` registered in
RONDO_INVITE. Whoever trains the other five digits may use Keras; both are clients of one run.
"""

# %% Your own data: it never leaves this program
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.datasets import load_digits

import rondo

Array = Any
Weights = Mapping[str, Array]

digits = load_digits()
mine = (np.arange(len(digits.target)) % 5 != 0) & (digits.target >= 5)  # noqa: PLR2004
x = digits.images[mine].reshape(-1, 64).astype(np.float32) / 16
y = np.eye(10, dtype=np.float32)[digits.target[mine]]


# %% The model is one layer: softmax(x @ kernel + bias)
def probabilities(weights: Weights, x: Array) -> Array:
    """Predict."""
    scores = x @ weights["scores/kernel"] + weights["scores/bias"]
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def step(weights: Weights, x: Array, y: Array, parameters: Mapping[str, Any]) -> Weights:
    """Take one step down the gradient of a batch."""
    error = (probabilities(weights, x) - y) / len(x)
    rate = parameters["learning_rate"]
    return {
        "scores/kernel": weights["scores/kernel"] - rate * x.T @ error,
        "scores/bias": weights["scores/bias"] - rate * error.sum(axis=0),
    }


def evaluate(weights: Weights, x: Array, y: Array) -> dict[str, float]:
    """Measure a version on examples that are never trained on."""
    found = probabilities(weights, x)
    chosen = np.clip((found * y).sum(axis=1), 1e-7, 1)
    return {
        "loss": -float(np.log(chosen).mean()),
        "accuracy": float((found.argmax(axis=1) == y.argmax(axis=1)).mean()),
    }


# %% Join and train
federation = rondo.connect(
    os.environ.get("RONDO_URL", "http://127.0.0.1:8080"),
    invite=os.environ["RONDO_INVITE"],
    name="high-digits",
)
trainer = rondo.NumpyTrainer(
    x,
    y,
    step=step,
    evaluate=evaluate,
    parameters={"epochs": 3, "batch_size": 16, "learning_rate": 0.3},
)
result = federation.train(trainer=trainer)

# %% What became of it
print(result.state, result.reason)
