"""The model spec: what is learned, as a declarative JSON document that is named by its SHA-256 and never changed.

A spec holds the input schema with its preprocessing, the layers, the labels, the loss, the metrics and the training
defaults. It is data: whatever it says, only the layers of `rondo_core.model_layers` can come out of it.
"""

import hashlib
from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from rondo_core.events import Name, Scalar
from rondo_core.model_layers import Layer, Shape

__all__ = [
    "CategoryColumn",
    "Classes",
    "Column",
    "ImageInput",
    "ModelSpec",
    "Number",
    "NumberColumn",
    "TableInput",
    "TrainingParameters",
    "encode_model_spec",
]

Label = Annotated[str, Meta(max_length=128)]
ColumnName = Annotated[str, Meta(min_length=1, max_length=128)]
Labels = Annotated[tuple[Label, ...], Meta(min_length=2, max_length=10_000)]
Loss = Literal["binary_crossentropy", "mean_squared_error", "sparse_categorical_crossentropy"]
Metric = Literal["accuracy", "auc", "mean_absolute_error"]


class NumberColumn(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="number", tag_field="kind"
):
    """A number; the model sees ``(value - mean) / std``."""

    name: ColumnName
    mean: float = 0.0
    std: Annotated[float, Meta(gt=0)] = 1.0


class CategoryColumn(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="category", tag_field="kind"
):
    """One of a list of words; the model sees one column per word, 1 where it is this one."""

    name: ColumnName
    values: Labels


Column = CategoryColumn | NumberColumn


class TableInput(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="table", tag_field="kind"
):
    """Rows of named columns. The model takes float32 (n, columns), a category as its index in ``values``."""

    columns: Annotated[tuple[Column, ...], Meta(min_length=1, max_length=10_000)]


class ImageInput(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="image", tag_field="kind"
):
    """Pictures. The model takes float32 (n, height, width, channels) as they are and maps the range to 0..1."""

    height: Annotated[int, Meta(ge=1, le=4096)]
    width: Annotated[int, Meta(ge=1, le=4096)]
    channels: Annotated[int, Meta(ge=1, le=16)] = 1
    minimum: float = 0.0
    maximum: float = 255.0


class Classes(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="classes", tag_field="kind"
):
    """One of a list of labels; the exported model gives a probability for each, in this order."""

    labels: Labels


class Number(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="number", tag_field="kind"
):
    """A number to be predicted."""

    name: ColumnName


class TrainingParameters(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a client trains in one round, unless the run says otherwise."""

    epochs: Annotated[int, Meta(ge=1, le=1000)] = 1
    batch_size: Annotated[int, Meta(ge=1, le=65_536)] = 32
    optimizer: Literal["adam", "sgd"] = "sgd"
    learning_rate: Annotated[float, Meta(gt=0, le=10)] = 0.01
    momentum: Annotated[float, Meta(ge=0, lt=1)] = 0.0


class ModelSpec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is learned. Read one with `rondo_core.spec_parser.parse_model_spec`, which checks every rule.

    Attributes:
        model: the model's name; the spec belongs to it.
        input: columns of a table, or pictures; preprocessing is part of it.
        layers: what stands between the preprocessed input and the output; each has its own name.
        output: the labels, or the number to be predicted.
        metrics: what is measured beside the loss.
        seed: of the initial weights and of dropout; the same spec starts from the same bytes everywhere.
        training: defaults for clients; a run may override them.
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
        """What a caller must send: the column names in order, or ``("image",)``."""
        match self.input:
            case TableInput(columns=columns):
                return tuple(column.name for column in columns)
            case ImageInput():
                return (self.tensor_name,)

    @property
    def tensor_name(self) -> str:
        """The name of the exported model's one input: ``columns`` or ``image``."""
        return "columns" if isinstance(self.input, TableInput) else "image"

    @property
    def input_shape(self) -> Shape:
        """The shape of one raw example: ``(columns,)`` or ``(height, width, channels)``."""
        match self.input:
            case TableInput(columns=columns):
                return (len(columns),)
            case ImageInput(height=height, width=width, channels=channels):
                return (height, width, channels)

    @property
    def outputs(self) -> tuple[str, ...]:
        """What the exported model gives, in the order of its columns: the labels, or the number's name."""
        return self.output.labels if isinstance(self.output, Classes) else (self.output.name,)
