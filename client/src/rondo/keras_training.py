"""A model compiled once, and a client's training of one round with it, on whatever examples."""

import numpy as np
from numpy.typing import NDArray

from rondo.keras_correction import corrected_optimizer, set_correction
from rondo.local_steps import effective_steps
from rondo.trainer import EXAMPLES, RoundTask, Trained, Weights
from rondo_core.errors import Invalid
from rondo_core.initial_weights import layout_of_spec
from rondo_core.keras import build, compiled_steps, evaluate, get_flat, set_flat
from rondo_core.layout import Float32Array
from rondo_core.model_spec import ModelSpec
from rondo_core.training_parameters import RunTraining

__all__ = ["LocalTraining"]

_CALL_BATCHES = 64
"""Batches that one call of the compiled loop takes: what is copied for it, whatever the data."""


class LocalTraining:
    """Builds the spec's model once and trains it from any weights on any examples of it.

    Nothing stays from one training to the next but the compiled model: each starts with a fresh
    optimizer, since what momentum or Adam remember belongs to weights that nobody has any more.

    Args:
        spec: the run's model spec.
    """

    def __init__(self, spec: ModelSpec) -> None:
        self._spec = spec
        self._layout = layout_of_spec(spec)
        self._compile(spec.training.overridden({}), corrected=False)

    def evaluate(
        self, weights: Weights, inputs: Float32Array, targets: NDArray[np.generic]
    ) -> dict[str, float]:
        """Measure loss and metrics; the loss alone, as NaN, where an output is not finite."""
        set_flat(self._model, self._layout.flatten(weights))
        try:
            return evaluate(self._model, inputs, targets)
        except Invalid:  # the version answers NaN: a fact about it, not about this client
            return {EXAMPLES: float(len(inputs)), "loss": float("nan")}

    def train(
        self,
        weights: Weights,
        task: RoundTask,
        inputs: Float32Array,
        targets: NDArray[np.generic],
    ) -> Trained:
        """Train for the task's epochs, in an order that its seed decides.

        Args:
            weights: where to start; read-only.
            task: the round.
            inputs: float32 (n, *input shape), n >= 1, as `rondo.examples.encode_examples` gives.
            targets: (n,), likewise.

        Raises:
            SpecInvalid: the run overrides a training parameter that does not exist, or badly.
            Invalid: a SCAFFOLD run whose training it does not fit.
        """
        training = self._spec.training.overridden(task.training)
        _check_drift(task, training)
        corrected = task.drift is not None or training.proximal_mu > 0
        if _compiled(training, corrected) != _compiled(self._training, self._corrected):
            self._compile(training, corrected=corrected)
        set_flat(self._model, self._layout.flatten(weights))
        self._forget()
        if corrected:
            set_correction(self._model, task.drift)
        rng = np.random.default_rng(task.seed)
        for _ in range(training.epochs):
            order = rng.permutation(len(inputs))
            for start in range(0, len(order), _CALL_BATCHES * training.batch_size):
                part = order[start : start + _CALL_BATCHES * training.batch_size]
                self._steps(inputs[part], targets[part], training.batch_size)
        new = self._layout.to_arrays(get_flat(self._model))
        return Trained(new, len(inputs), _worth(training, len(inputs)))

    def _compile(self, training: RunTraining, *, corrected: bool) -> None:
        self._training, self._corrected = training, corrected
        optimizer = corrected_optimizer(training) if corrected else None
        self._model = build(self._spec, training, optimizer=optimizer)
        self._model.optimizer.build(self._model.trainable_variables)
        self._fresh = [variable.numpy() for variable in self._model.optimizer.variables]
        self._steps = compiled_steps(self._model)

    def _forget(self) -> None:
        """Set the optimizer back; its variables hold the learning rate too, so not all to zero."""
        for variable, value in zip(self._model.optimizer.variables, self._fresh, strict=True):
            variable.assign(value)


def _compiled(training: RunTraining, corrected: bool) -> tuple[object, ...]:  # noqa: FBT001
    """Return what a compiled model cannot change."""
    mine = training.optimizer, training.learning_rate, training.momentum
    return (*mine, training.proximal_mu, corrected)


def _check_drift(task: RoundTask, training: RunTraining) -> None:
    if task.drift is None:
        return
    if training.optimizer != "sgd" or training.proximal_mu:
        raise Invalid(
            f"optimizer {training.optimizer!r} with proximal_mu {training.proximal_mu:g}: "
            "a SCAFFOLD run trains with 'sgd' and without proximal_mu"
        )


def _worth(training: RunTraining, examples: int) -> float | None:
    """Return how many plain steps the training is worth; Adam's are no multiple of gradients."""
    if training.optimizer != "sgd":
        return None
    batches = -(-examples // training.batch_size)
    return effective_steps(
        training.epochs * batches,
        momentum=training.momentum,
        pull=training.learning_rate * training.proximal_mu,
    )
