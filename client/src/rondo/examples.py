"""From a data owner's examples to the arrays that a model takes, and a loss."""

import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rondo_core.errors import Invalid
from rondo_core.input_arrays import check_inputs
from rondo_core.input_bounds import warned
from rondo_core.model_inputs import Row, decode_rows, decode_targets
from rondo_core.model_spec import ModelSpec
from rondo_core.output_schema import Classes

__all__ = ["Values", "encode_examples"]

Values = ArrayLike | Sequence[object]
"""An array, or anything that becomes one; or rows: values by column name, or in order."""


def encode_examples(
    spec: ModelSpec, x: Values, y: Values
) -> tuple[NDArray[np.float32], NDArray[np.int32] | NDArray[np.float32]]:
    """Return inputs and targets as model and loss take them, every value checked.

    Args:
        spec: says what is right.
        x: an array of numbers, (n, *input shape), where sides of 1 may be left out or a picture be
            one flat row; or a data frame, or rows as `decode_rows` takes them.
        y: labels as the spec spells them (the number 3 is the label ``3``); where no label is a
            number, whole numbers are positions in the spec's list; or, for a number, numbers.

    Warns:
        UserWarning: numbers are beyond the bounds of a column whose rule is to tell of it; names
            the column, the bound and how many.

    Raises:
        Invalid: shapes do not fit, or ``x`` and ``y`` differ in length.
        RowInvalid: names row, column, value and rule.
    """
    targets = _targets(spec, np.asarray(y))
    inputs = _inputs(spec, x)
    for one in warned(spec.input, inputs):
        found = f"column {one.column!r}: {one.rows} of {len(inputs)} values are {one.rule}"
        warnings.warn(f"{found}, the first at index {one.first}", stacklevel=3)
    if len(inputs) != len(targets):
        raise Invalid(f"x has {len(inputs)} examples and y has {len(targets)}")
    return inputs, targets


def _inputs(spec: ModelSpec, x: Values) -> NDArray[np.float32]:
    if not isinstance(x, np.ndarray) or x.dtype.kind not in "biuf":
        return decode_rows(spec, _rows(x))
    fits = x.ndim > 1 and x.size == len(x) * int(np.prod(spec.input.shape))
    return check_inputs(spec, x.reshape(len(x), *spec.input.shape) if fits else x)


def _rows(x: Values) -> list[Row]:
    """Take the rows apart; `decode_rows` checks what they are."""
    if hasattr(x, "to_dict"):  # a data frame
        return list(x.to_dict("records"))
    found = x.tolist() if isinstance(x, np.ndarray) else x
    return list(found)  # type: ignore[arg-type]


def _targets(spec: ModelSpec, y: NDArray[np.generic]) -> NDArray[np.int32] | NDArray[np.float32]:
    if y.ndim == 2 and y.shape[1] == 1:  # noqa: PLR2004  (a column is as good as a row)
        y = y[:, 0]
    if y.ndim != 1:
        raise Invalid(f"y has shape {y.shape}, expected (n,)")
    if (
        isinstance(spec.output, Classes)
        and y.dtype.kind in "iu"
        and not any(label.lstrip("-").isdigit() for label in spec.output.labels)
    ):
        labels = spec.output.labels
        if y.size and (y.min() < 0 or y.max() >= len(labels)):
            raise Invalid(f"y holds {y.min()}..{y.max()}, but there are {len(labels)} labels")
        return y.astype(np.int32)
    return decode_targets(spec, y.tolist())
