"""What each owner reaches alone, and what pooled data would have reached: same model, same budget.

Each is a federation of one: as many rounds, epochs and steps per picture as the federated run, by
the same trainer, measured on the same holdout.
"""

from typing import Any

from rondo.keras_trainer import KerasTrainer
from rondo.trainer import RoundTask
from rondo_core import keras
from rondo_core.initial_weights import initial_weights, layout_of_spec
from rondo_core.model_spec import ModelSpec
from rondo_local.demo.data import Digits, Labelled
from rondo_local.demo.orders import Baselines

__all__ = ["measure"]


def measure(spec: ModelSpec, digits: Digits, *, rounds: int) -> Baselines:
    """Train and measure all of them; blocks for some seconds."""
    model = keras.build(spec)
    return Baselines(
        alone={
            owner: _accuracy(model, spec, data, digits.holdout, rounds)
            for owner, data in digits.owners.items()
        },
        pooled=_accuracy(model, spec, digits.pooled(), digits.holdout, rounds),
    )


def _accuracy(
    model: Any,  # noqa: ANN401  (Keras has no types)
    spec: ModelSpec,
    data: Labelled,
    holdout: Labelled,
    rounds: int,
) -> float:
    trainer, layout = KerasTrainer(spec, data.x, data.y), layout_of_spec(spec)
    weights: Any = layout.to_arrays(initial_weights(spec))
    for number in range(1, rounds + 1):
        task = RoundTask(run_id="baseline", round=number, rounds=rounds, seed=number)
        weights = trainer.train(weights, task).weights
    keras.set_flat(model, layout.flatten(weights))
    return keras.evaluate(model, holdout.x, holdout.y)["accuracy"]
