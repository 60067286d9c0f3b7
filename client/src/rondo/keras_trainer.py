"""A trainer for the run's own model spec, by Keras (extra ``keras``)."""

import numpy as np

from rondo.examples import Values, encode_examples
from rondo.keras_correction import corrected_optimizer, set_correction
from rondo.local_steps import effective_steps
from rondo.trainer import EXAMPLES, RoundTask, Trained, Weights, split
from rondo_core.errors import Invalid
from rondo_core.initial_weights import layout_of_spec
from rondo_core.keras import build, evaluate, get_flat, set_flat
from rondo_core.model_spec import ModelSpec
from rondo_core.training_parameters import RunTraining

__all__ = ["KerasTrainer"]


class KerasTrainer:
    """Builds the spec's model once and trains it round after round.

    Every round starts from the received weights and a fresh optimizer: what momentum or Adam
    remember of the last round belongs to weights that nobody has any more.

    Args:
        spec: the run's model spec.
        x: examples as the model takes them, or rows; see `rondo.examples.encode_examples`.
        y: targets.
        holdout: share of the examples that is only measured on.
        seed: of that choice.

    Raises:
        Invalid: the examples do not fit the spec, or are fewer than 2.
    """

    def __init__(
        self, spec: ModelSpec, x: Values, y: Values, *, holdout: float = 0.2, seed: int = 0
    ) -> None:
        inputs, targets = encode_examples(spec, x, y)
        train, kept = split(len(inputs), holdout=holdout, seed=seed)
        self._spec = spec
        self._layout = layout_of_spec(spec)
        self._train = inputs[train], targets[train]
        self._kept = inputs[kept], targets[kept]
        self._compile(spec.training.overridden({}), corrected=False)

    def evaluate(self, weights: Weights) -> dict[str, float]:
        """Measure loss and metrics on the part that is never trained on."""
        set_flat(self._model, self._layout.flatten(weights))
        try:
            return evaluate(self._model, *self._kept)
        except Invalid:  # the version answers NaN: a fact about it, not about this client
            return {EXAMPLES: float(len(self._kept[0])), "loss": float("nan")}

    def train(self, weights: Weights, task: RoundTask) -> Trained:
        """Train for the task's epochs, in an order that its seed decides.

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
        inputs, targets = self._train
        rng = np.random.default_rng(task.seed)
        for _ in range(training.epochs):
            order = rng.permutation(len(inputs))
            for start in range(0, len(order), training.batch_size):
                batch = order[start : start + training.batch_size]
                # Half the cost of `fit` for small models, and no generator that others share.
                self._model.train_on_batch(inputs[batch], targets[batch])
        new = self._layout.to_arrays(get_flat(self._model))
        return Trained(new, len(inputs), _steps(training, len(inputs)))

    def _compile(self, training: RunTraining, *, corrected: bool) -> None:
        self._training, self._corrected = training, corrected
        optimizer = corrected_optimizer(training) if corrected else None
        self._model = build(self._spec, training, optimizer=optimizer)
        self._model.optimizer.build(self._model.trainable_variables)
        self._fresh = [variable.numpy() for variable in self._model.optimizer.variables]

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


def _steps(training: RunTraining, examples: int) -> float | None:
    """Return how many plain steps the training is worth; Adam's are no multiple of gradients."""
    if training.optimizer != "sgd":
        return None
    batches = -(-examples // training.batch_size)
    return effective_steps(
        training.epochs * batches,
        momentum=training.momentum,
        pull=training.learning_rate * training.proximal_mu,
    )
