"""What a model takes: columns of a table, or pictures, with the preprocessing that belongs to each.

The exported model has one float32 input. Scaling and one-hot encoding are layers inside it, so a
caller sends raw values; only the words of a category column become numbers outside (their index in
the spec's list).
"""

import math
from typing import Annotated

from msgspec import Meta, Struct

from rondo_core.errors import SpecInvalid
from rondo_core.model_layers import MAX_ELEMENTS, Shape

__all__ = [
    "CategoryColumn",
    "Column",
    "ImageInput",
    "Label",
    "NumberColumn",
    "TableInput",
    "check_input_schema",
    "first_repeated",
]

Label = Annotated[str, Meta(max_length=128)]
ColumnName = Annotated[str, Meta(min_length=1, max_length=128)]
Side = Annotated[int, Meta(ge=1, le=4096)]


class _Schema(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    pass


class NumberColumn(_Schema, frozen=True, kw_only=True, tag="number"):
    """A number; the layers see ``(value - mean) / std``."""

    name: ColumnName
    mean: Annotated[float, Meta(ge=-1e30, le=1e30)] = 0.0
    std: Annotated[float, Meta(ge=1e-12, le=1e30)] = 1.0


class CategoryColumn(_Schema, frozen=True, kw_only=True, tag="category"):
    """One of a list of words; the layers see one number per word: 1 for this one, 0 for others."""

    name: ColumnName
    values: Annotated[tuple[Label, ...], Meta(min_length=1, max_length=10_000)]


Column = CategoryColumn | NumberColumn


class TableInput(_Schema, frozen=True, kw_only=True, tag="table"):
    """Rows of named columns; the model takes float32 (n, columns).

    A category is its index in ``values``.
    """

    columns: Annotated[tuple[Column, ...], Meta(min_length=1, max_length=10_000)]

    @property
    def tensor_name(self) -> str:
        """The name of the exported model's input."""
        return "columns"

    @property
    def names(self) -> tuple[str, ...]:
        """The columns' names, in order."""
        return tuple(column.name for column in self.columns)

    @property
    def has_words(self) -> bool:
        """Whether any column is a category."""
        return any(isinstance(column, CategoryColumn) for column in self.columns)

    @property
    def shape(self) -> Shape:
        """One raw example: ``(columns,)``."""
        return (len(self.columns),)

    @property
    def encoded_shape(self) -> Shape:
        """One example after preprocessing: a number is one value wide, a category one per word."""
        return (sum(_width(column) for column in self.columns),)


class ImageInput(_Schema, frozen=True, kw_only=True, tag="image"):
    """Pictures; the model takes float32 (n, height, width, channels), maps their range to 0..1."""

    height: Side
    width: Side
    channels: Annotated[int, Meta(ge=1, le=16)] = 1
    minimum: Annotated[float, Meta(ge=-1e6, le=1e6)] = 0.0
    maximum: Annotated[float, Meta(ge=-1e6, le=1e6)] = 255.0

    @property
    def tensor_name(self) -> str:
        """The name of the exported model's input."""
        return "image"

    @property
    def names(self) -> tuple[str, ...]:
        """The one thing that a record holds."""
        return (self.tensor_name,)

    @property
    def shape(self) -> Shape:
        """One raw example: ``(height, width, channels)``."""
        return (self.height, self.width, self.channels)

    @property
    def encoded_shape(self) -> Shape:
        """One example after preprocessing: as before."""
        return self.shape


def check_input_schema(schema: ImageInput | TableInput) -> None:
    """Check what types and bounds cannot say.

    Raises:
        SpecInvalid: a name or a word twice, an empty range, or an input that is too wide.
    """
    match schema:
        case ImageInput(minimum=minimum, maximum=maximum):
            if minimum >= maximum:
                raise SpecInvalid(
                    "$.input.maximum", f"{maximum} is not greater than minimum {minimum}"
                )
        case TableInput(columns=columns):
            if (name := first_repeated(schema.names)) is not None:
                raise SpecInvalid("$.input.columns", f"column {name!r} appears twice")
            for position, column in enumerate(columns):
                values = column.values if isinstance(column, CategoryColumn) else ()
                if (value := first_repeated(values)) is not None:
                    path = f"$.input.columns[{position}].values"
                    raise SpecInvalid(path, f"{value!r} appears twice")
    if (elements := math.prod(schema.encoded_shape)) > MAX_ELEMENTS:
        raise SpecInvalid("$.input", f"an example of {elements} values is over {MAX_ELEMENTS}")


def first_repeated(names: tuple[str, ...]) -> str | None:
    """Return the first name that was there before, or None.

    Example:
        >>> first_repeated(("a", "b", "a"))
        'a'
    """
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None


def _width(column: Column) -> int:
    return len(column.values) if isinstance(column, CategoryColumn) else 1
