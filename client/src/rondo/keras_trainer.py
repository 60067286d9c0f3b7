"""A trainer for the run's own model spec, by Keras (extra ``keras``)."""

from rondo.examples import Values, encode_examples
from rondo.keras_training import LocalTraining
from rondo.trainer import RoundTask, Trained, Weights, split
from rondo_core.model_spec import ModelSpec

__all__ = ["KerasTrainer"]


class KerasTrainer:
    """Builds the spec's model once and trains it round after round on a data owner's examples.

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
        self._train = inputs[train], targets[train]
        self._kept = inputs[kept], targets[kept]
        self._training = LocalTraining(spec)

    def evaluate(self, weights: Weights) -> dict[str, float]:
        """Measure loss and metrics on the part that is never trained on."""
        return self._training.evaluate(weights, *self._kept)

    def train(self, weights: Weights, task: RoundTask) -> Trained:
        """Train for the task's epochs on the other part; see `LocalTraining.train`.

        Raises:
            SpecInvalid: the run overrides a training parameter that does not exist, or badly.
            Invalid: a SCAFFOLD run whose training it does not fit.
        """
        return self._training.train(weights, task, *self._train)
