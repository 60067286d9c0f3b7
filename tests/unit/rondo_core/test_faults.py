from collections.abc import Callable
from typing import Literal

import msgspec
import pytest
from msgspec import Struct

from rondo_core.faults import Fault, fault_in_json, read_fault


class Part(Struct):
    kind: Literal["a", "b"] = "a"
    size: float = 0.0


class Whole(Struct, forbid_unknown_fields=True):
    name: str
    parts: list[Part] = []
    counts: dict[str, int] = {}


def fault(document: object) -> Fault:
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.convert(document, Whole)
    return read_fault(caught.value, document)


@pytest.mark.parametrize(
    ("document", "text"),
    [
        ({"name": 3}, "Expected `str`, got `int`, found 3 - at `$.name`"),
        ({"name": None}, "Expected `str`, got `null`, found None - at `$.name`"),
        (
            {"name": "x", "parts": [{}, {"size": "big"}]},
            "Expected `float`, got `str`, found 'big' - at `$.parts[1].size`",
        ),
        (
            {"name": "x", "parts": [{"kind": "c"}]},
            "Invalid enum value 'c' - at `$.parts[0].kind`",
        ),
        ({"name": "x", "parts": {}}, "Expected `array`, got `object` - at `$.parts`"),
        (
            {"name": "x", "counts": {"a": "b"}},
            "Expected `int`, got `str` - at `$.counts[...]`",
        ),
        ({}, "Object missing required field `name`"),
        ([], "Expected `object`, got `array`"),
    ],
)
def test_a_fault_tells_rule_value_and_path(document: object, text: str) -> None:
    assert str(fault(document)) == text


def test_a_fault_has_the_way_to_its_place() -> None:
    found = fault({"name": "x", "parts": [{}, {"size": "big"}]})

    assert (found.path, found.steps) == ("$.parts[1].size", ["parts", 1, "size"])
    assert (found.rule, found.found) == ("Expected `float`, got `str`", "'big'")
    assert fault({}).path == "$"


def test_a_long_value_and_a_long_rule_are_cut() -> None:
    error = msgspec.ValidationError(f"{'r' * 300} - at `$.name`")

    found = read_fault(error, {"name": "v" * 300})

    assert (len(found.rule), len(found.found)) == (200, 80)


@pytest.mark.parametrize("data", [b'{"name": 3, ', b"\xff", b'{"name": ' + b"[" * 100_000])
def test_a_document_that_cannot_be_read_again_is_told_of_without_a_value(data: bytes) -> None:
    error = msgspec.ValidationError("Expected `str` - at `$.name`")

    assert str(fault_in_json(error, data)) == "Expected `str` - at `$.name`"


@pytest.mark.parametrize("kind", [bytes, bytearray, bytes.decode])
def test_a_json_document_is_read_for_the_value(
    kind: Callable[[bytes], bytes | bytearray | str],
) -> None:
    data = kind(b'{"name": 3}')
    error = msgspec.ValidationError("Expected `str` - at `$.name`")

    assert fault_in_json(error, data).found == "3"
