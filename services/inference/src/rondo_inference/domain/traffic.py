"""Which version answers a request that names none: shares of the traffic, and shadow copies."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from rondo_core.errors import Invalid
from rondo_core.keys import CHAMPION

__all__ = ["EVERYTHING_TO_CHAMPION", "Traffic", "parse_traffic"]

_HASH_BITS = 64


@dataclass(frozen=True, slots=True)
class Traffic:
    """How the requests to one model are split.

    Attributes:
        weights: label -> its share, relative to the others'; positive.
        shadow: label whose version gets a copy of every request; its answers are counted and
            thrown away.
    """

    weights: Mapping[str, float]
    shadow: str | None = None

    def label(self, key: str) -> str:
        """Return the label that answers: always the same one for the same key.

        A label whose share grows keeps the keys that it had, as long as the order of the labels
        stays.

        Example:
            >>> split = Traffic({"champion": 3, "candidate": 1})
            >>> labels = [split.label(str(number)) for number in range(1000)]
            >>> labels.count("candidate")
            222
        """
        digest = hashlib.sha256(key.encode()).digest()
        at = int.from_bytes(digest[: _HASH_BITS // 8], "big") / 2**_HASH_BITS
        at *= sum(self.weights.values())
        for label, weight in self.weights.items():
            at -= weight
            if at < 0:
                return label
        return list(self.weights)[-1]  # rounding of the last sum


EVERYTHING_TO_CHAMPION = Traffic(MappingProxyType({CHAMPION: 1.0}))


class _File(Struct, frozen=True, forbid_unknown_fields=True):
    weights: Annotated[
        dict[str, Annotated[float, Meta(gt=0, le=1e9)]], Meta(min_length=1, max_length=100)
    ]
    shadow: str | None = None


def parse_traffic(data: bytes) -> Traffic:
    """Read ``{"weights": {"champion": 9, "candidate": 1}, "shadow": null}``.

    Raises:
        Invalid: not such a document; the text names the place and the rule.
    """
    try:
        found = msgspec.json.decode(data, type=_File)
    except msgspec.MsgspecError as exc:
        raise Invalid(f"not a traffic split: {exc}") from exc
    return Traffic(found.weights, found.shadow)
