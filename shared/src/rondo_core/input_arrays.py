"""Arrays that are to be what the exported model takes already: whether they are.

Every error names the row, the column, the value found and the rule.
"""

from functools import lru_cache
from typing import cast

import numpy as np
from numpy.typing import NDArray

from rondo_core.errors import Invalid, RowInvalid
from rondo_core.input_bounds import refuse_beyond, shown
from rondo_core.input_schema import CategoryColumn, ImageInput, TableInput
from rondo_core.layout import Float32Array
from rondo_core.model_spec import ModelSpec

__all__ = ["check_inputs"]

_NUMERIC_KINDS = "biuf"
_HIGHEST = np.maximum.reduce


def check_inputs(spec: ModelSpec, inputs: NDArray[np.generic]) -> Float32Array:
    """Check an array that did not come through ``decode_rows``: binary tensors, decoded pictures.

    Args:
        spec: says what shape and range are right.
        inputs: any real type, (n, columns) with categories as indices, or (n, height, width,
            channels).

    Returns:
        float32, the same shape; ``inputs`` itself where it is float32 already.

    Raises:
        Invalid: another shape or type.
        RowInvalid: a value that is not finite, outside the pictures' range or the bounds of its
            column, or not an index.
    """
    expected = spec.input.shape
    if inputs.shape[1:] != expected or inputs.dtype.kind not in _NUMERIC_KINDS:
        wanted = ", ".join(map(str, ("n", *expected)))
        raise Invalid(f"{inputs.dtype} {inputs.shape} is not numbers of shape ({wanted})")
    if inputs.dtype == np.float32:
        values = cast("Float32Array", inputs)
    else:
        with np.errstate(over="ignore"):  # what overflows is refused as infinite
            values = inputs.astype(np.float32)
    if isinstance(spec.input, ImageInput):
        _check_range(values, None, spec.input.minimum, spec.input.maximum)
        return values
    if spec.input.has_words or not np.isfinite(values).all():
        _check_columns(spec.input, values)
    refuse_beyond(spec.input, values)
    return values


def _check_columns(schema: TableInput, values: Float32Array) -> None:
    for position, column in enumerate(schema.columns):
        cells = values[:, position]
        if isinstance(column, CategoryColumn):
            _check_range(cells, column.name, 0, len(column.values) - 1)
            _refuse(cells != np.floor(cells), cells, column.name, "not an index")
        else:
            _refuse(~np.isfinite(cells), cells, column.name, "not a finite number")


@lru_cache(maxsize=256)
def _bits(value: float) -> int:
    return int(np.float32(value).view(np.uint32))


def _check_range(values: Float32Array, column: str | None, low: float, high: float) -> None:
    """NaN is refused too: no comparison with it is true."""
    # The bits of floats from 0 are in the same order; of negative ones and NaN they are above.
    if not low and values.size and _HIGHEST(values.view(np.uint32), axis=None) <= _bits(high):
        return
    outside = ~((values >= np.float32(low)) & (values <= np.float32(high)))
    _refuse(outside, values, column, f"not in {low}..{high}")


def _refuse(wrong: NDArray[np.bool_], values: Float32Array, column: str | None, rule: str) -> None:
    if wrong.any():
        where = np.unravel_index(int(wrong.argmax()), wrong.shape)
        raise RowInvalid(int(where[0]), column, f"{shown(values[where])} is {rule}")
