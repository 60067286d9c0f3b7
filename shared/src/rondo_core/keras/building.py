"""The one place that builds a model from a spec."""

from collections.abc import Mapping
from types import MappingProxyType

import keras
import msgspec
import numpy as np

from rondo_core.initial_weights import initial_weights
from rondo_core.input_schema import CategoryColumn, Column, ImageInput, TableInput
from rondo_core.keras.flat import set_flat
from rondo_core.model_layers import (
    AveragePooling2D,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    GlobalAveragePooling2D,
    Layer,
    LayerNormalization,
    MaxPooling2D,
)
from rondo_core.model_spec import ModelSpec
from rondo_core.training_parameters import TrainingParameters

__all__ = ["build"]

_LAYERS: Mapping[type[Layer], type[keras.layers.Layer]] = MappingProxyType(
    {
        AveragePooling2D: keras.layers.AveragePooling2D,
        Conv2D: keras.layers.Conv2D,
        Dense: keras.layers.Dense,
        Dropout: keras.layers.Dropout,
        Flatten: keras.layers.Flatten,
        GlobalAveragePooling2D: keras.layers.GlobalAveragePooling2D,
        LayerNormalization: keras.layers.LayerNormalization,
        MaxPooling2D: keras.layers.MaxPooling2D,
    }
)


def build(
    spec: ModelSpec,
    training: TrainingParameters | None = None,
    *,
    optimizer: keras.optimizers.Optimizer | None = None,
) -> keras.Model:
    """Build and compile the model of a spec, with its initial weights.

    The model takes raw inputs: float32 (n, columns) or (n, height, width, channels), as
    `rondo_core.model_inputs.decode_rows` gives them.

    Args:
        spec: from `parse_model_spec`.
        training: a run's parameters; None means the spec's own.
        optimizer: instead of the one that they name.

    Returns:
        A functional model whose weights are exactly `layout_of_spec`, in that order.

    Raises:
        LayoutMismatch: Keras named or shaped a weight otherwise than we foresee.
    """
    inputs = keras.Input(spec.input.shape, dtype="float32", name=spec.input.tensor_name)
    values = _preprocessing(spec.input)(inputs)
    for position, layer in enumerate(spec.layers):
        values = _keras_layer(layer, spec.seed + position)(values)
    model = keras.Model(inputs, values, name=spec.model)
    model.compile(
        optimizer=optimizer or _optimizer(training or spec.training),
        loss=spec.loss,
        metrics=list(spec.metrics),
    )
    set_flat(model, initial_weights(spec))
    return model


def _preprocessing(schema: ImageInput | TableInput) -> keras.layers.Layer:
    if isinstance(schema, TableInput):
        return _ColumnEncoding(schema)
    scale = 1.0 / (schema.maximum - schema.minimum)
    return keras.layers.Rescaling(scale, -schema.minimum * scale, name="preprocess")


def _keras_layer(layer: Layer, seed: int) -> keras.layers.Layer:
    """Our fields are Keras's arguments of the same names."""
    fields = msgspec.structs.asdict(layer)
    if isinstance(layer, Dropout):
        fields["seed"] = seed
    return _LAYERS[type(layer)](**fields)


def _optimizer(training: TrainingParameters) -> keras.optimizers.Optimizer:
    if training.optimizer == "adam":
        return keras.optimizers.Adam(training.learning_rate)
    return keras.optimizers.SGD(training.learning_rate, momentum=training.momentum)


class _ColumnEncoding(keras.layers.Layer):  # type: ignore[misc]  # Keras has no type hints
    """Scales numbers and spreads each category over one column per word, in the columns' order.

    Column k of the result reads column ``source[k]`` of the input: as ``(value - mean) / std``, or
    as whether the value is the index ``word[k]``.
    """

    def __init__(self, schema: TableInput) -> None:
        super().__init__(name="preprocess", trainable=False)
        rows = [
            row for position, column in enumerate(schema.columns) for row in _rows(position, column)
        ]
        table = np.array(rows, np.float32)
        self._source = table[:, 0].astype(np.int32)
        self._is_number = table[:, 1] == 1.0
        self._mean, self._std, self._word = table[:, 2], table[:, 3], table[:, 4]

    def call(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        """Encode float32 (n, columns)."""
        values = keras.ops.take(inputs, self._source, axis=1)
        scaled = (values - self._mean) / self._std
        chosen = keras.ops.cast(keras.ops.equal(values, self._word), "float32")
        return keras.ops.where(self._is_number, scaled, chosen)


def _rows(position: int, column: Column) -> list[tuple[float, float, float, float, float]]:
    """Return (source, is number, mean, std, word) of each column that one input column becomes."""
    if isinstance(column, CategoryColumn):
        return [(position, 0.0, 0.0, 1.0, word) for word in range(len(column.values))]
    return [(position, 1.0, column.mean, column.std, 0.0)]
