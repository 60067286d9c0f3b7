"""The encodings by name, and with which strategies they go."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from rondo_core.errors import EncodingInvalid
from rondo_core.events import Scalar
from rondo_core.strategies import is_own, needs_steps, read_strategy

__all__ = ["FLOAT32", "TOP_K", "Encoding", "EncodingName", "check_encoding", "parse_encoding"]

EncodingName = Literal["bfloat16", "float16", "float32", "int8", "top-k"]

FLOAT32 = "float32"
"""The encoding of a run that asks for none: the delta as it is."""
TOP_K = "top-k"
_KNOWN: Mapping[str, EncodingName] = {name: name for name in get_args(EncodingName)}
_LARGEST_SHARE = 0.5
"""More would be longer than float32: an entry takes 8 bytes."""
_COMPARING_RULES = {"bulyan", "median", "trimmed-mean"}


@dataclass(frozen=True, slots=True)
class Encoding:
    """An encoding as a run asks for it.

    Attributes:
        name: which.
        share: of all columns, those that top-k sends; None for the others.
    """

    name: EncodingName
    share: float | None = None

    def entries(self, columns: int) -> int:
        """Return how many of the columns top-k sends: the nearest whole number, at least 1.

        >>> parse_encoding("top-k:0.01").entries(1234)
        12
        """
        return max(1, round((self.share or 0) * columns))


def parse_encoding(text: str) -> Encoding:
    """Read ``NAME``, or ``top-k:SHARE``.

    Raises:
        EncodingInvalid: names the value and the rule.

    >>> parse_encoding("int8"), parse_encoding("top-k:0.01").share
    (Encoding(name='int8', share=None), 0.01)
    """
    name, colon, number = text.partition(":")
    if name not in _KNOWN:
        raise EncodingInvalid(f"unknown encoding {name!r}; known: {', '.join(_KNOWN)}")
    if name != TOP_K:
        if colon:
            raise EncodingInvalid(f"encoding {name!r} takes no share, found {number!r}")
        return Encoding(_KNOWN[name])
    try:
        share = float(number)
    except ValueError:
        share = 0.0
    if not 0 < share <= _LARGEST_SHARE:
        rule = f"'top-k:SHARE' with 0 < SHARE <= {_LARGEST_SHARE}, for example 'top-k:0.01'"
        raise EncodingInvalid(f"encoding {text!r} is not {rule}")
    return Encoding(_KNOWN[name], share)


def check_encoding(text: str, strategy: str, parameters: Mapping[str, Scalar]) -> None:
    """Refuse what can be refused at a door: an encoding, or one that a strategy cannot take.

    Args:
        text: as `parse_encoding` takes it.
        strategy: one that `read_strategy` reads.
        parameters: of the strategy.

    Raises:
        EncodingInvalid: names the value and the rule.
    """
    if parse_encoding(text).name != TOP_K or is_own(strategy):
        return
    if needs_steps(strategy, parameters):
        rule = "divides a delta by the steps of its round, but top-k also sends what earlier left"
        raise EncodingInvalid(f"encoding {text!r}: strategy {strategy!r} {rule}")
    rule = read_strategy(strategy, parameters).parts.column_rule
    if rule in _COMPARING_RULES:
        why = f"column rule {rule!r} compares the clients' values, but top-k sends few of a column"
        raise EncodingInvalid(f"encoding {text!r}: {why}")
