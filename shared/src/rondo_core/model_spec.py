"""The model spec: what is learned, as a JSON document, named by its SHA-256 and never changed.

It holds the input schema with its preprocessing, the layers, the labels, the loss, the metrics and
the training defaults. It is data: whatever it says, only the layers of `rondo_core.model_layers`
can come out of it.
"""

import hashlib
import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, get_args

import msgspec
from msgspec import Meta, Struct

from rondo_core.errors import SpecInvalid
from rondo_core.events import Name
from rondo_core.input_schema import (
    ImageInput,
    OutOfRange,
    TableInput,
    check_input_schema,
    first_repeated,
)
from rondo_core.model_layers import (
    MAX_ELEMENTS,
    MAX_PARAMETERS,
    Activation,
    Layer,
    Padding,
    Variable,
    output_shape,
    variables,
)
from rondo_core.output_schema import Classes, Loss, Metric, Number, check_output_schema
from rondo_core.spec_errors import spec_invalid
from rondo_core.training_parameters import Optimizer, TrainingParameters

__all__ = ["ModelSpec", "encode_model_spec", "parse_model_spec"]

MAX_SPEC_BYTES = 4 * 1024 * 1024
"""Room for vocabularies of many thousand words; a document that is larger is not a spec."""

RESERVED_LAYER_NAMES = frozenset({"columns", "image", "preprocess"})
"""What the built model calls its input and its preprocessing."""

_ALLOWED: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "activation": get_args(Activation),
        "columns.kind": ("category", "number"),
        "input.kind": ("image", "table"),
        "layers.kind": tuple(sorted(layer.__name__ for layer in get_args(Layer))),
        "loss": get_args(Loss),
        "metrics": get_args(Metric),
        "optimizer": get_args(Optimizer),
        "output.kind": ("classes", "number"),
        "out_of_range": get_args(OutOfRange),
        "padding": get_args(Padding),
    }
)


class ModelSpec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is learned; `parse_model_spec` makes one and checks every rule.

    Attributes:
        model: the model's name; the spec belongs to it.
        input: columns of a table, or pictures, with their preprocessing.
        layers: what stands between the preprocessed input and the output; each has its own name.
        output: the labels, or the number to be predicted.
        metrics: what is measured beside the loss.
        seed: of the initial weights and of dropout; a spec starts from the same bytes everywhere.
        training: defaults for clients.
    """

    model: Name
    input: ImageInput | TableInput
    layers: Annotated[tuple[Layer, ...], Meta(min_length=1, max_length=200)]
    output: Classes | Number
    loss: Loss
    metrics: Annotated[tuple[Metric, ...], Meta(max_length=8)] = ()
    seed: Annotated[int, Meta(ge=0, lt=2**31)] = 0
    training: TrainingParameters = TrainingParameters()

    @property
    def sha256(self) -> str:
        """The spec's name: SHA-256 of its canonical JSON, lower-case hex."""
        return hashlib.sha256(encode_model_spec(self)).hexdigest()

    @property
    def input_names(self) -> tuple[str, ...]:
        """What a record holds: the column names in order, or ``("image",)``."""
        return self.input.names

    @property
    def outputs(self) -> tuple[str, ...]:
        """What the exported model gives, column by column: the labels, or the number's name."""
        return self.output.names

    @property
    def variables(self) -> tuple[Variable, ...]:
        """The trained tensors of all layers, in the order of Keras's ``model.weights``.

        Raises:
            SpecInvalid: two layers do not fit each other, or the model is too large.
        """
        shape = self.input.encoded_shape
        found: list[Variable] = []
        for position, layer in enumerate(self.layers):
            path = f"$.layers[{position}]"
            after = output_shape(layer, shape, path)
            if (elements := math.prod(after)) > MAX_ELEMENTS:
                raise SpecInvalid(path, f"an output of {elements} values is over {MAX_ELEMENTS}")
            found += variables(layer, shape)
            shape = after
        parameters = sum(math.prod(variable.shape) for variable in found)
        if parameters > MAX_PARAMETERS:
            raise SpecInvalid("$.layers", f"{parameters} parameters are over {MAX_PARAMETERS}")
        return tuple(found)


def encode_model_spec(spec: ModelSpec) -> bytes:
    """Return the canonical JSON: sorted keys, no spaces, every field written out, also defaults.

    Only a number column's bounds are left out where there are none: they came later, and may not
    change the digests of before.
    """
    return msgspec.json.encode(spec, order="sorted")


def parse_model_spec(data: bytes) -> ModelSpec:
    """Read a model spec and check every rule, so that whatever is returned can be built.

    Raises:
        SpecInvalid: names the JSON path, the value found, the rule, and often what is allowed.

    Example:
        >>> parse_model_spec(b'{"model": 3}')
        Traceback (most recent call last):
        ...
        rondo_core.errors.SpecInvalid: $.model: Expected `str`, got `int`, found 3
    """
    if len(data) > MAX_SPEC_BYTES:
        raise SpecInvalid("$", f"{len(data)} bytes are over {MAX_SPEC_BYTES}")
    try:
        spec = msgspec.json.decode(data, type=ModelSpec)
    except msgspec.MsgspecError as exc:
        raise spec_invalid(exc, data, _ALLOWED) from exc
    check_input_schema(spec.input)
    _check_layer_names(tuple(layer.name for layer in spec.layers))
    check_output_schema(spec.output, spec.loss, spec.metrics, spec.layers)
    _ = spec.variables  # raises where two layers do not fit
    return spec


def _check_layer_names(names: tuple[str, ...]) -> None:
    for position, name in enumerate(names):
        if name in RESERVED_LAYER_NAMES:
            raise SpecInvalid(f"$.layers[{position}].name", f"{name!r} is reserved")
    if (repeated := first_repeated(names)) is not None:
        raise SpecInvalid("$.layers", f"layer name {repeated!r} appears twice")
