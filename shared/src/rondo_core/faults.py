"""What msgspec found wrong in a document, with the value that it found.

msgspec names the path and the rule, but seldom the value: ``Expected `int` >= 1 - at `$.rounds` ``.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

__all__ = ["Fault", "fault_in_json", "read_fault"]

_PLACE = re.compile(r"(?P<rule>.*) - at `(?P<path>\$.*)`\Z", re.DOTALL)
_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]")
_RULE_CHARACTERS = 200
_SHOWN_CHARACTERS = 80


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of a document.

    Attributes:
        rule: what was broken, in msgspec's words.
        steps: the way to the place: fields and positions, as far as msgspec names them.
        path: the same as text, for example ``$.layers[2].units``; ``$`` is the document itself.
        found: how the value looks, or "" where there is none, or one that has parts.
    """

    rule: str
    steps: Sequence[str | int] = ()
    path: str = "$"
    found: str = ""

    @property
    def sentence(self) -> str:
        """Rule and value.

        >>> Fault("Expected `int` >= 1", found="0").sentence
        'Expected `int` >= 1, found 0'
        """
        if not self.found or self.rule.endswith(f"value {self.found}"):
            return self.rule
        return f"{self.rule}, found {self.found}"

    def __str__(self) -> str:
        return self.sentence if self.path == "$" else f"{self.sentence} - at `{self.path}`"


def read_fault(exc: msgspec.MsgspecError, document: object) -> Fault:
    """Say what is wrong with a document of dicts, lists and values.

    >>> error = msgspec.ValidationError("Expected `int` >= 1 - at `$.runs[1].rounds`")
    >>> print(read_fault(error, {"runs": [{"rounds": 2}, {"rounds": 0}]}))
    Expected `int` >= 1, found 0 - at `$.runs[1].rounds`
    """
    match = _PLACE.match(str(exc))
    if match is None:
        return Fault(str(exc))
    path = match["path"]
    steps = [name or int(index) for name, index in _STEP.findall(path)]
    return Fault(match["rule"][:_RULE_CHARACTERS], steps, path, _shown(document, steps))


def fault_in_json(exc: msgspec.MsgspecError, data: bytes | bytearray | str) -> Fault:
    """Say what is wrong with a JSON document; without the value where it cannot be read at all."""
    try:
        document: object = msgspec.json.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        document = None  # worse than its first fault
    return read_fault(exc, document)


def _shown(value: object, steps: Sequence[str | int]) -> str:
    for step in steps:
        match value, step:
            case dict(), str() if step in value:
                value = value[step]
            case list(), int() if step < len(value):
                value = value[step]
            case _:
                return ""
    return "" if isinstance(value, dict | list) else repr(value)[:_SHOWN_CHARACTERS]
