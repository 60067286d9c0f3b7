"""From what people send (JSON rows, CSV rows, pictures) to the array that the exported model takes.

Every error names the row, the column, the value found and the rule. Scaling is not done here: it is
part of the model.
"""

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from rondo_core.errors import RowInvalid
from rondo_core.input_arrays import check_inputs
from rondo_core.input_bounds import refuse_beyond
from rondo_core.input_schema import CategoryColumn, Column, ImageInput, TableInput
from rondo_core.layout import Float32Array
from rondo_core.model_spec import ModelSpec
from rondo_core.output_schema import Classes

__all__ = ["Row", "decode_rows", "decode_targets"]

Row = Mapping[str, object] | Sequence[object]
"""A record: values by column name (others are ignored), or exactly all values in order."""

_TEXT_KIND = "U"
_SHOWN_CHARACTERS = 60
_SHOWN_WORDS = 10


def decode_rows(spec: ModelSpec, rows: Sequence[Row]) -> Float32Array:
    """Return what the exported model takes: float32 (n, columns) or (n, height, width, channels).

    Args:
        spec: says which columns, or which pictures.
        rows: for a table, values by name or in order; a number may be written as text, a category
            is its word. For pictures, nested lists (without the channel axis where there is only
            one channel) or one flat list, row-major; or ``{"image": …}`` of either.

    Returns:
        A new array, owned by the caller.

    Raises:
        RowInvalid: names a row that is wrong, counted from 0, its column, its value and the rule.
    """
    if isinstance(spec.input, ImageInput):
        return check_inputs(spec, _pictures(spec.input, rows))
    values = _table(spec.input, rows)
    refuse_beyond(spec.input, values)
    return values


def decode_targets(spec: ModelSpec, values: Sequence[object]) -> NDArray[np.int32] | Float32Array:
    """Return what the loss takes: the index of each label, int32 (n,), or numbers, float32 (n,).

    Raises:
        RowInvalid: names the row, the value and the labels, or that it is not a number.
    """
    if isinstance(spec.output, Classes):
        return np.array(_indices("label", spec.output.labels, values), np.int32)
    return _numbers(spec.output.name, values)


def _table(schema: TableInput, rows: Sequence[Row]) -> Float32Array:
    if not schema.has_words and _is_full(rows, schema):  # the common case costs one conversion
        whole = _as_numbers(rows)
        if whole is not None and whole.shape == (len(rows), *schema.shape):
            return whole
    ordered = [_in_order(schema.names, row, index) for index, row in enumerate(rows)]
    if not schema.has_words and len(rows) and isinstance(rows[0], Mapping):  # and so does this
        whole = _as_numbers(ordered)
        if whole is not None and whole.shape == (len(rows), *schema.shape):
            return whole
    columns = list(zip(*ordered, strict=True)) if ordered else [() for _ in schema.columns]
    result = np.empty((len(rows), len(schema.columns)), np.float32)
    for position, (column, cells) in enumerate(zip(schema.columns, columns, strict=True)):
        result[:, position] = _cells(column, cells)
    return result


def _is_full(rows: Sequence[Row], schema: TableInput) -> bool:
    """Whether the first row has as many values as columns: a longer one is not worth converting."""
    first = rows[0] if len(rows) else ()
    return isinstance(first, list | tuple | np.ndarray) and len(first) == len(schema.columns)


def _cells(column: Column, cells: Sequence[object]) -> Float32Array | list[int]:
    if isinstance(column, CategoryColumn):
        return _indices(column.name, column.values, cells)
    return _numbers(column.name, cells)


def _in_order(names: tuple[str, ...], row: Row, index: int) -> Sequence[object]:
    if isinstance(row, Mapping):
        missing = next((name for name in names if name not in row), None)
        if missing is not None:
            raise RowInvalid(index, missing, "is missing")
        return [row[name] for name in names]
    if isinstance(row, str | bytes) or not isinstance(row, Sequence):
        raise RowInvalid(index, None, f"{_shown(row)} is neither an object nor a list")
    if len(row) != len(names):
        raise RowInvalid(index, None, f"{len(row)} values, but the model has {len(names)} columns")
    return row


def _numbers(column: str, cells: Sequence[object]) -> Float32Array:
    values = _as_numbers(cells)
    if values is not None and values.ndim == 1:
        return values
    # One cell is wrong, or the cells are of kinds that NumPy does not mix, such as true and "1".
    return np.concatenate([_number(column, cell, row) for row, cell in enumerate(cells)])


def _number(column: str, cell: object, row: int) -> Float32Array:
    if cell is None or (isinstance(cell, str) and not cell.strip()):
        raise RowInvalid(row, column, "is empty")
    value = _as_numbers([cell])
    if value is None or value.ndim != 1:
        raise RowInvalid(row, column, f"{_shown(cell)} is not a number")
    return value


def _as_numbers(cells: object) -> Float32Array | None:
    """Return finite float32 values of the cells' own shape, or None where one is no such number."""
    try:
        found = np.array(cells)
        if found.dtype.kind == _TEXT_KIND and np.any(np.strings.find(found, "_") >= 0):
            return None  # Python reads "1_0" as 10; nobody who writes a CSV means that
        with np.errstate(over="ignore"):
            values = found.astype(np.float32)
    except (ValueError, TypeError, OverflowError):
        return None
    return values if np.isfinite(values).all() else None


def _indices(column: str, words: tuple[str, ...], cells: Sequence[object]) -> list[int]:
    index_of = _index_of(words)
    try:
        return [index_of[cell] for cell in cells]  # type: ignore[index]  # others raise below
    except (KeyError, TypeError):
        return [_index(column, index_of, cell, position) for position, cell in enumerate(cells)]


def _index(column: str, index_of: Mapping[str, int], cell: object, row: int) -> int:
    word = _word(cell)
    if word in index_of:
        return index_of[word]
    if word.strip() in index_of:
        return index_of[word.strip()]
    known = ", ".join(map(repr, list(index_of)[:_SHOWN_WORDS]))
    more = f" and {len(index_of) - _SHOWN_WORDS} more" if len(index_of) > _SHOWN_WORDS else ""
    raise RowInvalid(row, column, f"{_shown(cell)} is not one of {known}{more}")


def _word(cell: object) -> str:
    """Return a cell as a CSV file would have it: JSON's true is ``true``, 1.0 is ``1``."""
    match cell:
        case bool():
            return str(cell).lower()
        case float() if cell.is_integer():
            return str(int(cell))
        case _:
            return str(cell)


@lru_cache(maxsize=256)
def _index_of(words: tuple[str, ...]) -> Mapping[str, int]:
    return {word: index for index, word in enumerate(words)}


def _pictures(schema: ImageInput, rows: Sequence[Row]) -> Float32Array:
    pictures = [_picture(schema, row, index) for index, row in enumerate(rows)]
    return np.stack(pictures) if pictures else np.empty((0, *schema.shape), np.float32)


def _picture(schema: ImageInput, row: Row, index: int) -> Float32Array:
    picture: object = row
    if isinstance(row, Mapping):
        if schema.tensor_name not in row:
            raise RowInvalid(index, schema.tensor_name, "is missing")
        picture = row[schema.tensor_name]
    values = _as_numbers(picture)
    if values is None:
        raise RowInvalid(index, None, f"{_shown(picture)} is not a picture of numbers")
    height, width, channels = schema.shape
    fitting = {schema.shape, (math.prod(schema.shape),)}
    if channels == 1:
        fitting.add((height, width))
    if values.shape not in fitting:
        raise RowInvalid(index, None, f"shape {values.shape}, expected {schema.shape}")
    return values.reshape(schema.shape)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…"
