"""Between a Keras model and the flat vector of its weights."""

import keras
import numpy as np

from rondo_core.layout import Float32Array, Layout, TensorSpec

__all__ = ["get_flat", "layout_of", "set_flat"]


def layout_of(model: keras.Model) -> Layout:
    """Return the layout of ``model.weights``; seed state and optimizer state are not weights."""
    return Layout(tuple(TensorSpec(weight.path, tuple(weight.shape)) for weight in model.weights))


def get_flat(model: keras.Model) -> Float32Array:
    """Return a copy of the weights, float32 (size,), in the order of ``model.weights``."""
    return np.concatenate([np.ravel(array) for array in model.get_weights()])


def set_flat(model: keras.Model, flat: Float32Array) -> None:
    """Copy a flat vector, float32 (size,), into the model's weights; nothing else changes.

    Raises:
        LayoutMismatch: ``flat`` is not one vector of the model's size.
    """
    model.set_weights(list(layout_of(model).to_arrays(flat).values()))
