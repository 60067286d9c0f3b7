"""Wording: what is wrong with a model spec, the value found, and what would be allowed."""

from collections.abc import Mapping, Sequence

import msgspec

from rondo_core.errors import SpecInvalid
from rondo_core.faults import fault_in_json

__all__ = ["spec_invalid"]


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
    fault = fault_in_json(exc, data)
    choices = allowed.get(_field(fault.steps))
    if choices is not None and fault.rule.startswith("Invalid"):
        return SpecInvalid(fault.path, f"{fault.rule}; allowed: {', '.join(choices)}")
    return SpecInvalid(fault.path, fault.sentence)


def _field(steps: Sequence[str | int]) -> str:
    """Name the field that a path ends in; a tag is named with the field around it."""
    names = [step for step in steps if isinstance(step, str)]
    return ".".join(names[-2:] if names[-1:] == ["kind"] else names[-1:])
