"""Data that the small model can learn exactly, and a trainer that does so in plain NumPy."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from rondo import NumpyTrainer
from rondo_core.events import Scalar


def line_data(examples: int = 50, seed: int = 0) -> tuple[Any, Any]:
    """Return x (n, 2) and y (n, 1) with y = 2a - b + 1."""
    x = np.random.default_rng(seed).normal(size=(examples, 2)).astype(np.float32)
    return x, (x @ np.array([[2.0], [-1.0]], np.float32) + 1).astype(np.float32)


def step(
    weights: Mapping[str, Any], x: Any, y: Any, parameters: Mapping[str, Scalar]
) -> dict[str, Any]:
    error = x @ weights["out/kernel"] + weights["out/bias"] - y
    rate = float(parameters.get("learning_rate", 0.1))
    return {
        "out/kernel": weights["out/kernel"] - rate * x.T @ error / len(x),
        "out/bias": weights["out/bias"] - rate * error.mean(axis=0),
    }


def evaluate(weights: Mapping[str, Any], x: Any, y: Any) -> dict[str, float]:
    error = x @ weights["out/kernel"] + weights["out/bias"] - y
    return {"loss": float(np.mean(error**2))}


def line_trainer(examples: int = 50) -> NumpyTrainer:
    return NumpyTrainer(*line_data(examples), step=step, evaluate=evaluate)


class CountingTrainer:
    """The same trainer, which counts how often it is asked."""

    def __init__(self) -> None:
        self.inner = line_trainer()
        self.measured = 0
        self.trained = 0

    def evaluate(self, weights: Mapping[str, Any]) -> Mapping[str, float]:
        self.measured += 1
        return self.inner.evaluate(weights)

    def train(self, weights: Mapping[str, Any], task: Any) -> tuple[Mapping[str, Any], int]:
        self.trained += 1
        return self.inner.train(weights, task)[:2]
