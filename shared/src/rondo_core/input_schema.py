"""What a model takes: columns of a table, or pictures, with the preprocessing that belongs to each.

The exported model has one float32 input. Scaling and one-hot encoding are layers inside it, so a
caller sends raw values; only the words of a category column become numbers outside (their index in
the spec's list).
"""

import math
from functools import cached_property
from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from rondo_core.errors import SpecInvalid
from rondo_core.model_layers import MAX_ELEMENTS, Shape

__all__ = [
    "CategoryColumn",
    "Column",
    "ImageInput",
    "Label",
    "NumberColumn",
    "OutOfRange",
    "TableInput",
    "check_input_schema",
    "first_repeated",
]

Label = Annotated[str, Meta(max_length=128)]
ColumnName = Annotated[str, Meta(min_length=1, max_length=128)]
Side = Annotated[int, Meta(ge=1, le=4096)]


class _Schema(
    Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="kind",
    dict=True,
    cache_hash=True,
):
    """What follows from the fields is worked out once."""


OutOfRange = Literal["refuse", "warn"]
"""What becomes of a number beyond a bound: no answer, or an answer that says so."""

Bound = Annotated[float, Meta(ge=-1e30, le=1e30)]


class NumberColumn(_Schema, frozen=True, kw_only=True, tag="number"):
    """A number; the layers see ``(value - mean) / std``.

    What is not set is not in the spec's JSON, so that specs of before there were bounds keep their
    digests.

    Attributes:
        minimum: the least number that is expected, as in JSON Schema.
        maximum: the greatest.
        out_of_range: what becomes of others, where there is a bound; refused if not set.
    """

    name: ColumnName
    mean: Annotated[float, Meta(ge=-1e30, le=1e30)] = 0.0
    std: Annotated[float, Meta(ge=1e-12, le=1e30)] = 1.0
    minimum: Bound | UnsetType = UNSET
    maximum: Bound | UnsetType = UNSET
    out_of_range: OutOfRange | UnsetType = UNSET

    @property
    def is_bounded(self) -> bool:
        """Whether it has a bound."""
        return not (self.minimum is UNSET and self.maximum is UNSET)

    @property
    def beyond(self) -> OutOfRange | None:
        """What becomes of numbers beyond a bound; None where there is none."""
        if not self.is_bounded:
            return None
        return "refuse" if self.out_of_range is UNSET else self.out_of_range


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

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The columns' names, in order."""
        return tuple(column.name for column in self.columns)

    @cached_property
    def has_words(self) -> bool:
        """Whether any column is a category."""
        return any(isinstance(column, CategoryColumn) for column in self.columns)

    @cached_property
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

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The one thing that a record holds."""
        return (self.tensor_name,)

    @cached_property
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
        SpecInvalid: a name or a word twice, an empty range, a rule for bounds that are not there,
            or an input that is too wide.
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
                _check_column(f"$.input.columns[{position}]", column)
    if (elements := math.prod(schema.encoded_shape)) > MAX_ELEMENTS:
        raise SpecInvalid("$.input", f"an example of {elements} values is over {MAX_ELEMENTS}")


def _check_column(path: str, column: Column) -> None:
    if isinstance(column, CategoryColumn):
        if (value := first_repeated(column.values)) is not None:
            raise SpecInvalid(f"{path}.values", f"{value!r} appears twice")
    elif column.minimum is not UNSET and column.maximum is not UNSET:
        if column.minimum > column.maximum:
            rule = f"{column.maximum} is less than minimum {column.minimum}"
            raise SpecInvalid(f"{path}.maximum", rule)
    elif column.out_of_range is not UNSET and not column.is_bounded:
        rule = f"{column.out_of_range!r} needs a minimum or a maximum"
        raise SpecInvalid(f"{path}.out_of_range", rule)


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
