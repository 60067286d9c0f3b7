"""A trainer for models that are written in plain NumPy, or in anything that can give arrays."""

import math
from collections.abc import Iterator, Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from rondo.local_steps import effective_steps
from rondo.trainer import EXAMPLES, RoundTask, Trained, Weights, split
from rondo_core.errors import Invalid
from rondo_core.events import Scalar

__all__ = ["EvaluateFunction", "NumpyTrainer", "StepFunction"]

Array = NDArray[np.generic]


class StepFunction(Protocol):
    """One step of training."""

    def __call__(
        self, weights: Weights, x: Array, y: Array, parameters: Mapping[str, Scalar]
    ) -> Weights:
        """Return new weights after one batch; the given ones may be changed in place too."""
        ...


class EvaluateFunction(Protocol):
    """One measurement."""

    def __call__(self, weights: Weights, x: Array, y: Array) -> Mapping[str, float]:
        """Return metric -> value on all of ``x`` and ``y``; ``examples`` is added to them."""
        ...


class NumpyTrainer:
    """Two functions become a trainer: one step on a batch, one measurement.

    Args:
        x: examples, (n, ...).
        y: targets, (n, ...).
        step: called once per batch.
        evaluate: called on the part that is never trained on.
        holdout: share of that part.
        seed: of the split.
        parameters: defaults of ``epochs``, ``batch_size`` and whatever ``step`` reads; a run's
            training parameters override them. ``proximal_mu`` (FedProx) is seen to here, and
            needs a ``learning_rate`` beside it, that of ``step``.

    The steps that FedNova and SCAFFOLD go by are the batches: right for a ``step`` that keeps
    nothing from batch to batch.

    Raises:
        Invalid: different numbers of examples, fewer than 2, or a ``holdout`` not between 0 and 1.

    Example:
        >>> def step(weights, x, y, parameters):
        ...     gradient = x.T @ (x @ weights["line/kernel"] - y) / len(x)
        ...     return {"line/kernel": weights["line/kernel"] - 0.1 * gradient}
        >>> def evaluate(weights, x, y):
        ...     return {"loss": float(np.mean((x @ weights["line/kernel"] - y) ** 2))}
        >>> x = np.ones((10, 1), np.float32)
        >>> trainer = NumpyTrainer(x, 2 * x, step=step, evaluate=evaluate)
        >>> trainer.evaluate({"line/kernel": np.zeros((1, 1), np.float32)})
        {'loss': 4.0, 'examples': 2.0}
    """

    def __init__(
        self,
        x: Array,
        y: Array,
        *,
        step: StepFunction,
        evaluate: EvaluateFunction,
        holdout: float = 0.2,
        seed: int = 0,
        parameters: Mapping[str, Scalar] | None = None,
    ) -> None:
        if len(x) != len(y):
            raise Invalid(f"x has {len(x)} examples and y has {len(y)}: they must be the same")
        train, kept = split(len(x), holdout=holdout, seed=seed)
        self._train = x[train], y[train]
        self._kept = x[kept], y[kept]
        self._step = step
        self._evaluate = evaluate
        self._parameters = {"epochs": 1, "batch_size": 32, **(parameters or {})}

    def evaluate(self, weights: Weights) -> dict[str, float]:
        """Measure on the part that is never trained on."""
        metrics = self._evaluate(weights, *self._kept)
        return {**metrics, EXAMPLES: float(len(self._kept[0]))}

    def train(self, weights: Weights, task: RoundTask) -> Trained:
        """Shuffle and step through the batches, ``epochs`` times.

        Raises:
            Invalid: ``epochs`` or ``batch_size`` is not a whole number of at least 1, or
                ``proximal_mu`` or its ``learning_rate`` is not a number that fits.
        """
        parameters = {**self._parameters, **task.training}
        epochs, size = (_whole(parameters, name) for name in ("epochs", "batch_size"))
        rng = np.random.default_rng(task.seed)
        current: Weights = {name: array.copy() for name, array in weights.items()}
        pull, steps = _pull(parameters), 0
        for _ in range(epochs):
            for x, y in _batches(*self._train, size, rng):
                away = _away(current, weights, pull)
                current = _moved(self._step(current, x, y, parameters), away)
                current = _moved(current, task.drift)
                steps += 1
        new = {name: np.asarray(array, np.float32) for name, array in current.items()}
        return Trained(new, len(self._train[0]), effective_steps(steps, pull=pull))


def _away(current: Weights, start: Weights, pull: float) -> Weights | None:
    """Return what a proximal step takes off: the pull times the way from the start."""
    if not pull:
        return None
    return {name: pull * (current[name] - array) for name, array in start.items()}


def _moved(weights: Weights, back: Weights | None) -> Weights:
    if back is None:
        return weights
    return {name: array - back[name] for name, array in weights.items()}


def _pull(parameters: Mapping[str, Scalar]) -> float:
    """Return learning rate times mu."""
    mu = parameters.get("proximal_mu", 0)
    if mu == 0:
        return 0.0
    rate = parameters.get("learning_rate")
    for name, value in (("proximal_mu", mu), ("learning_rate", rate)):
        if not isinstance(value, int | float) or not 0 < value < math.inf:
            raise Invalid(f"training parameter {name} is {value!r}, but must be a number > 0")
    return float(mu) * float(rate or 0)


def _batches(
    x: Array, y: Array, size: int, rng: np.random.Generator
) -> Iterator[tuple[Array, Array]]:
    order = rng.permutation(len(x))
    for start in range(0, len(x), size):
        batch = order[start : start + size]
        yield x[batch], y[batch]


def _whole(parameters: Mapping[str, Scalar], name: str) -> int:
    value = parameters[name]
    if not isinstance(value, int) or value < 1:
        raise Invalid(f"training parameter {name} is {value!r}, but must be a whole number >= 1")
    return value
