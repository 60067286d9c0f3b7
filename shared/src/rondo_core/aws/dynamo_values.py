"""Fields and keys in DynamoDB's own notation, and back."""

import math
from collections.abc import Mapping
from typing import Any

from rondo_core.errors import Invalid
from rondo_core.run_store import Item, Key, Value

__all__ = ["decode_item", "encode_item", "encode_key", "encode_value"]

_LARGEST = 9.99e125
_SMALLEST = 1e-130
_EXACT = 2**53


def encode_key(key: Key) -> dict[str, Any]:
    """Write a row's key.

    >>> encode_key(Key("RUN#a", "META"))
    {'PK': {'S': 'RUN#a'}, 'SK': {'S': 'META'}}
    """
    return {"PK": {"S": key.pk}, "SK": {"S": key.sk}}


def encode_item(key: Key, item: Item) -> dict[str, Any]:
    """Write a whole row; the key given wins over a ``PK`` and ``SK`` among the fields."""
    return {name: encode_value(value) for name, value in item.items()} | encode_key(key)


def encode_value(value: object) -> dict[str, Any]:
    """Write one value.

    Raises:
        Invalid: a number outside DynamoDB's range, or an empty set.
        TypeError: not a ``Value``.

    >>> encode_value({"rate": 0.5, "tags": frozenset({"b", "a"})})
    {'M': {'rate': {'N': '0.5'}, 'tags': {'SS': ['a', 'b']}}}
    """
    match value:
        case list() | tuple():
            return {"L": [encode_value(one) for one in value]}
        case Mapping():
            return {"M": {name: encode_value(one) for name, one in value.items()}}
        case frozenset() if value:
            return {"SS": sorted(value)}
        case frozenset():
            raise Invalid("an empty set cannot be stored; leave the field out")
        case _:
            return _scalar(value)


def decode_item(item: Mapping[str, Any]) -> dict[str, Value]:
    """Read a whole row, ``PK`` and ``SK`` included.

    >>> decode_item({"PK": {"S": "RUN#a"}, "n": {"N": "3"}, "mean": {"N": "0.25"}})
    {'PK': 'RUN#a', 'n': 3, 'mean': 0.25}
    """
    return {name: _decode(value) for name, value in item.items()}


def _decode(value: Mapping[str, Any]) -> Any:  # noqa: ANN401 - a Value, which mypy cannot follow
    ((kind, content),) = value.items()
    match kind:
        case "N":
            return _from_number(content)
        case "L":
            return [_decode(one) for one in content]
        case "M":
            return {name: _decode(one) for name, one in content.items()}
        case "SS":
            return frozenset(content)
        case _:  # S, BOOL and B are as we want them
            return content


def _scalar(value: object) -> dict[str, Any]:
    match value:
        case str():
            return {"S": value}
        case bool():
            return {"BOOL": value}
        case int() | float():
            return {"N": _number(value)}
        case bytes():
            return {"B": value}
        case _:
            raise TypeError(f"{value!r} cannot be stored")


def _number(value: float) -> str:
    if isinstance(value, int):
        return str(value)
    if not math.isfinite(value) or abs(value) > _LARGEST:
        raise Invalid(f"{value} cannot be stored: a number is finite and at most {_LARGEST}")
    if abs(value) < _SMALLEST:
        return "0"
    # DynamoDB keeps no difference between 1 and 1.0 (it answers 1), so neither do we.
    return str(int(value)) if value.is_integer() and abs(value) < _EXACT else repr(value)


def _from_number(text: str) -> int | float:
    try:
        return int(text)
    except ValueError:
        number = float(text)
        return int(number) if number.is_integer() else number
