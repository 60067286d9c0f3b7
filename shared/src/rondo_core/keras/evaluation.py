"""Predicting and evaluating by direct calls: ``Model.predict`` costs 50 ms each and leaks."""

import keras
import numpy as np
from numpy.typing import NDArray

from rondo_core.errors import Invalid
from rondo_core.layout import Float32Array
from rondo_core.scores import scores

__all__ = ["evaluate", "predict"]

_BATCH_EXAMPLES = 256


def predict(model: keras.Model, inputs: Float32Array) -> Float32Array:
    """Return the model's outputs, float32 (n, outputs), n >= 1; dropout is off.

    Args:
        model: from `build`.
        inputs: raw examples, float32 (n, columns) or (n, height, width, channels).
    """
    return np.concatenate(
        [
            keras.ops.convert_to_numpy(
                model(inputs[start : start + _BATCH_EXAMPLES], training=False)
            )
            for start in range(0, len(inputs), _BATCH_EXAMPLES)
        ]
    )


def evaluate(
    model: keras.Model, inputs: Float32Array, targets: NDArray[np.generic]
) -> dict[str, float]:
    """Return ``loss``, ``examples`` and the metrics that fit the model's loss.

    Args:
        model: from `build`.
        inputs: raw examples, as `predict`.
        targets: (n,) class indices or numbers, as `decode_targets`.

    Raises:
        Invalid: no example, other shapes, a class that is not there, or outputs not finite.
    """
    if not len(inputs):
        raise Invalid("there is no example to evaluate on")
    return scores(model.loss, predict(model, inputs), targets)
