"""What a model gives: a probability for each label, or a number; and what fits each.

``binary_crossentropy`` is for two labels that share one sigmoid unit, which gives the second
label's probability; the exported model gives both.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from rondo_core.errors import SpecInvalid
from rondo_core.input_schema import Label, first_repeated
from rondo_core.model_layers import Dense, Layer

__all__ = ["Classes", "Loss", "Metric", "Number", "check_output_schema"]

Loss = Literal["binary_crossentropy", "mean_squared_error", "sparse_categorical_crossentropy"]
Metric = Literal["accuracy", "auc", "mean_absolute_error"]
_LABELS_OF_ONE_UNIT = 2


class _Schema(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    pass


class Classes(_Schema, frozen=True, kw_only=True, tag="classes"):
    """One of a list of labels; the exported model gives a probability for each, in this order."""

    labels: Annotated[tuple[Label, ...], Meta(min_length=2, max_length=10_000)]

    @property
    def names(self) -> tuple[str, ...]:
        """What each column of the exported model's output is."""
        return self.labels


class Number(_Schema, frozen=True, kw_only=True, tag="number"):
    """A number to be predicted."""

    name: Annotated[str, Meta(min_length=1, max_length=128)]

    @property
    def names(self) -> tuple[str, ...]:
        """What the one column of the exported model's output is."""
        return (self.name,)


def check_output_schema(
    output: Classes | Number, loss: Loss, metrics: tuple[Metric, ...], layers: tuple[Layer, ...]
) -> None:
    """Check that labels, loss, metrics and the last layer tell the same story.

    Raises:
        SpecInvalid: names what does not fit and what would.
    """
    if (name := first_repeated(output.names)) is not None:
        raise SpecInvalid("$.output.labels", f"{name!r} appears twice")
    _check_loss(output, loss)
    _check_head(output, loss, layers)
    fitting = _fitting_metrics(output, loss)
    for position, metric in enumerate(metrics):
        if metric not in fitting:
            rule = f"{metric!r} does not fit the loss; allowed: {', '.join(fitting)}"
            raise SpecInvalid(f"$.metrics[{position}]", rule)
    if (name := first_repeated(metrics)) is not None:
        raise SpecInvalid("$.metrics", f"{name!r} appears twice")


def _check_loss(output: Classes | Number, loss: Loss) -> None:
    if isinstance(output, Number):
        fitting = loss == "mean_squared_error"
    elif loss == "binary_crossentropy":
        fitting = len(output.labels) == _LABELS_OF_ONE_UNIT
    else:
        fitting = loss == "sparse_categorical_crossentropy"
    if not fitting:
        wanted = (
            "a number takes mean_squared_error, two labels binary_crossentropy, "
            "two and more sparse_categorical_crossentropy"
        )
        raise SpecInvalid("$.loss", f"{loss!r} does not fit the output: {wanted}")


def _check_head(output: Classes | Number, loss: Loss, layers: tuple[Layer, ...]) -> None:
    units = len(output.names) if loss == "sparse_categorical_crossentropy" else 1
    activation = {
        "binary_crossentropy": "sigmoid",
        "mean_squared_error": "linear",
        "sparse_categorical_crossentropy": "softmax",
    }[loss]
    last = layers[-1]
    if not (isinstance(last, Dense) and last.units == units and last.activation == activation):
        rule = f"the last layer must be Dense with units {units} and activation {activation!r}"
        raise SpecInvalid(f"$.layers[{len(layers) - 1}]", f"{rule} for {loss!r}, found {last}")


def _fitting_metrics(output: Classes | Number, loss: Loss) -> tuple[Metric, ...]:
    if isinstance(output, Number):
        return ("mean_absolute_error",)
    return ("accuracy", "auc") if loss == "binary_crossentropy" else ("accuracy",)
