"""Wording: what msgspec found wrong in a document, the value found, and what would be allowed.

msgspec names the path and the rule, but not always the value, and never the alternatives.
"""

import re
from collections.abc import Mapping, Sequence

import msgspec

from rondo_core.errors import SpecInvalid

__all__ = ["spec_invalid"]

_PLACE = re.compile(r"(?P<rule>.*) - at `(?P<path>\$.*)`\Z", re.DOTALL)
_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]")
_RULE_CHARACTERS = 200
_SHOWN_CHARACTERS = 80


def spec_invalid(
    exc: msgspec.MsgspecError, data: bytes, allowed: Mapping[str, Sequence[str]]
) -> SpecInvalid:
    """Turn msgspec's error into ours: the path, the rule, the value found, and the values allowed.

    Args:
        exc: what decoding ``data`` raised.
        data: the whole document.
        allowed: field name -> the values it may have; ``layers.kind`` is the tag of an element
            of the field ``layers``.

    Example:
        >>> data = b'{"loss": "hinge"}'
        >>> error = msgspec.ValidationError("Invalid enum value 'hinge' - at `$.loss`")
        >>> print(spec_invalid(error, data, {"loss": ["mean_squared_error"]}))
        $.loss: Invalid enum value 'hinge'; allowed: mean_squared_error
    """
    match = _PLACE.match(str(exc))
    if match is None:
        return SpecInvalid("$", str(exc))
    steps = [name or int(index) for name, index in _STEP.findall(match["path"])]
    rule = match["rule"][:_RULE_CHARACTERS]
    choices = allowed.get(_field(steps))
    if choices is not None and rule.startswith("Invalid"):
        return SpecInvalid(match["path"], f"{rule}; allowed: {', '.join(choices)}")
    found = _found(data, steps)
    return SpecInvalid(match["path"], f"{rule}, found {found}" if found else rule)


def _field(steps: Sequence[str | int]) -> str:
    """Name the field that a path ends in; a tag is named with the field around it."""
    names = [step for step in steps if isinstance(step, str)]
    return ".".join(names[-2:] if names[-1:] == ["kind"] else names[-1:])


def _found(data: bytes, steps: Sequence[str | int]) -> str:
    """Show the value at a path, or nothing where there is none or it has parts."""
    try:
        value: object = msgspec.json.decode(data)
    except (msgspec.MsgspecError, RecursionError):
        return ""  # the document is worse than its first fault
    for step in steps:
        match value, step:
            case dict(), str() if step in value:
                value = value[step]
            case list(), int() if step < len(value):
                value = value[step]
            case _:
                return ""
    if isinstance(value, dict | list):
        return ""
    return repr(value)[:_SHOWN_CHARACTERS]
