"""The one way to a prediction, whatever door it came in by."""

from collections.abc import Callable

import numpy as np

from rondo_core.layout import Float32Array
from rondo_core.telemetry import Metrics
from rondo_inference.registry.served import ServedModel

__all__ = ["LARGEST_BATCH", "Predict", "predict"]

LARGEST_BATCH = 256
"""More rows are computed in turn, so that a large request does not need memory for all at once."""

Predict = Callable[[ServedModel, Float32Array], Float32Array]
"""`predict`, bound to its ports."""


def predict(served: ServedModel, inputs: Float32Array, *, metrics: Metrics) -> Float32Array:
    """Return the outputs (n, outputs) for inputs (n, *input shape). Blocks while it computes.

    Args:
        served: held for the whole call, so a swap meanwhile changes nothing.
        inputs: checked against the model's spec; n >= 1.
        metrics: counts rows and times the computation.
    """
    with metrics.timed("rondo_predict_seconds", kind=served.name):
        batches = [
            served.engine.run(inputs[start : start + LARGEST_BATCH])
            for start in range(0, len(inputs), LARGEST_BATCH)
        ]
    metrics.count("rondo_predictions_total", kind=served.name, amount=len(inputs))
    return batches[0] if len(batches) == 1 else np.concatenate(batches)
