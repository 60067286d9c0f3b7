"""The layers that a model spec may use, with the shapes and the variables that each one has.

This list is the whole allow-list: a spec that names another layer is refused, and nothing else is
ever built. ``BatchNormalization`` is absent on purpose: its moving statistics are a client's own,
and their mean over clients with different classes fits none of them; ``LayerNormalization`` keeps
no statistics. ``gelu`` is absent because the ONNX converter that Keras uses has no ``Erfc``.

Source: Keras 3 layer definitions (keras.io/api/layers); Glorot and Bengio, 2010, equation 16.
"""

import math
from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import Meta, Struct

from rondo_core.errors import SpecInvalid

__all__ = [
    "MAX_ELEMENTS",
    "MAX_PARAMETERS",
    "Activation",
    "AveragePooling2D",
    "Conv2D",
    "Dense",
    "Dropout",
    "Flatten",
    "GlobalAveragePooling2D",
    "Layer",
    "LayerNormalization",
    "MaxPooling2D",
    "Shape",
    "Variable",
    "output_shape",
    "variables",
]

MAX_ELEMENTS = 2**24
"""No layer gives more values than this for one example."""

MAX_PARAMETERS = 2**28
"""No model has more parameters than this: 1 GiB of float32."""

Shape = tuple[int, ...]
"""A shape without the batch axis: ``(height, width, channels)`` or ``(width,)``."""

Activation = Literal[
    "elu", "linear", "relu", "selu", "sigmoid", "silu", "softmax", "softplus", "tanh"
]
LayerName = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]*\Z", max_length=64)]
Width = Annotated[int, Meta(ge=1, le=65_536)]
Side = Annotated[int, Meta(ge=1, le=32)]
Padding = Literal["same", "valid"]


class _Layer(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag=True, tag_field="kind"
):
    name: LayerName


class Dense(_Layer, frozen=True, kw_only=True):
    """Every input to every unit; needs a flat input."""

    units: Width
    activation: Activation = "linear"


class Conv2D(_Layer, frozen=True, kw_only=True):
    """Square filters over height and width; needs a picture."""

    filters: Width
    kernel_size: Side = 3
    strides: Side = 1
    padding: Padding = "valid"
    activation: Activation = "linear"


class MaxPooling2D(_Layer, frozen=True, kw_only=True):
    """The largest value of each square; squares do not overlap."""

    pool_size: Side = 2


class AveragePooling2D(_Layer, frozen=True, kw_only=True):
    """The mean of each square; squares do not overlap."""

    pool_size: Side = 2


class GlobalAveragePooling2D(_Layer, frozen=True, kw_only=True):
    """The mean of each channel."""


class Flatten(_Layer, frozen=True, kw_only=True):
    """A picture as one row of numbers, row-major."""


class Dropout(_Layer, frozen=True, kw_only=True):
    """Zeroes a share of the values while training; nothing at inference."""

    rate: Annotated[float, Meta(ge=0, lt=1)]


class LayerNormalization(_Layer, frozen=True, kw_only=True):
    """Scales the last axis of each example to mean 0 and variance 1, then by learned factors."""

    epsilon: Annotated[float, Meta(gt=0, le=1)] = 1e-3


Layer = (
    AveragePooling2D
    | Conv2D
    | Dense
    | Dropout
    | Flatten
    | GlobalAveragePooling2D
    | LayerNormalization
    | MaxPooling2D
)


@dataclass(frozen=True, slots=True)
class Variable:
    """A trained tensor of a layer, float32.

    Attributes:
        name: ``layer/variable``, as Keras names it.
        shape: without a batch axis.
        limit: initial values are uniform in [-limit, limit); 0 means that all are ``centre``.
        centre: the middle of the initial values.
    """

    name: str
    shape: Shape
    limit: float = 0.0
    centre: float = 0.0


def output_shape(layer: Layer, shape: Shape, path: str) -> Shape:
    """Return the shape that a layer gives for an input of ``shape``.

    Args:
        layer: any layer of the allow-list.
        shape: what comes in, without the batch axis.
        path: the layer's place in the spec, for the error.

    Raises:
        SpecInvalid: the layer cannot take such an input, or nothing is left of it.

    Example:
        >>> output_shape(Conv2D(name="c", filters=4), (8, 8, 1), "$.layers[0]")
        (6, 6, 4)
    """
    match layer:
        case Dense(units=units):
            _needs(shape, 1, layer, path)
            return (units,)
        case Conv2D(filters=filters, kernel_size=size, strides=strides):
            _needs(shape, 3, layer, path)
            return (*_sides(shape, size, strides, layer.padding, path), filters)
        case MaxPooling2D(pool_size=size) | AveragePooling2D(pool_size=size):
            _needs(shape, 3, layer, path)
            return (*_sides(shape, size, size, "valid", path), shape[2])
        case GlobalAveragePooling2D():
            _needs(shape, 3, layer, path)
            return (shape[2],)
        case Flatten():
            return (math.prod(shape),)
        case Dropout() | LayerNormalization():
            return shape


def variables(layer: Layer, shape: Shape) -> tuple[Variable, ...]:
    """Return the trained tensors of a layer whose input has ``shape``, in Keras's order.

    Kernels start Glorot-uniform, everything else at its neutral value, as in Keras.

    Example:
        >>> [v.shape for v in variables(Dense(name="d", units=3), (2,))]
        [(2, 3), (3,)]
    """
    match layer:
        case Dense(name=name, units=units):
            return _kernel_and_bias(name, (shape[0], units))
        case Conv2D(name=name, kernel_size=size, filters=filters):
            return _kernel_and_bias(name, (size, size, shape[2], filters))
        case LayerNormalization(name=name):
            return (
                Variable(f"{name}/gamma", shape[-1:], centre=1.0),
                Variable(f"{name}/beta", shape[-1:]),
            )
        case _:
            return ()


def _kernel_and_bias(name: str, shape: Shape) -> tuple[Variable, Variable]:
    """Glorot's limit is sqrt(6 / (inputs + outputs)); a convolution counts its whole window."""
    window = math.prod(shape[:-2])
    limit = math.sqrt(6.0 / (window * (shape[-2] + shape[-1])))
    return Variable(f"{name}/kernel", shape, limit), Variable(f"{name}/bias", shape[-1:])


def _needs(shape: Shape, rank: int, layer: Layer, path: str) -> None:
    if len(shape) == rank:
        return
    kind = type(layer).__name__
    if rank == 1:
        needed = "a flat input (put Flatten or GlobalAveragePooling2D before it)"
    else:
        needed = "height, width and channels"
    raise SpecInvalid(path, f"{kind} {layer.name!r} needs {needed}, found shape {shape}")


def _sides(shape: Shape, size: int, strides: int, padding: str, path: str) -> Shape:
    if padding == "same":
        return tuple(-(-side // strides) for side in shape[:2])
    sides = tuple((side - size) // strides + 1 for side in shape[:2])
    if min(sides) < 1:
        raise SpecInvalid(path, f"a window of {size} does not fit into {shape[0]} x {shape[1]}")
    return sides
