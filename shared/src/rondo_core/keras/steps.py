"""Steps of a compiled model's optimizer, many of them in one call."""

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from rondo_core.layout import Float32Array

__all__ = ["Steps", "compiled_steps"]

Steps = Callable[[Float32Array, NDArray[np.generic], int], None]
"""Takes examples, their targets and the size of a batch; the last batch may be smaller."""


def compiled_steps(model: keras.Model) -> Steps:
    """Return what takes one step of the optimizer for each batch, in the order of the examples.

    The loop over the batches is in TensorFlow's graph: for small models it takes two thirds of the
    time of Keras's ``train_on_batch``. Metrics are not updated.

    Args:
        model: from `build`, with its optimizer built.
    """

    def steps(inputs: tf.Tensor, targets: tf.Tensor, batch_size: int) -> None:
        for start in tf.range(0, tf.shape(inputs)[0], batch_size):
            batch = inputs[start : start + batch_size]
            wanted = targets[start : start + batch_size]
            with tf.GradientTape() as tape:
                found = model(batch, training=True)
                loss = model.compute_loss(x=batch, y=wanted, y_pred=found, training=True)
            gradients = tape.gradient(loss, model.trainable_variables)
            model.optimizer.apply(gradients, model.trainable_variables)

    compiled: Steps = tf.function(steps, reduce_retracing=True)
    return compiled
