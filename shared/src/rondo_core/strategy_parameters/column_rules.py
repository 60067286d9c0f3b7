"""The parameters of column rules."""

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar

from msgspec import Meta

from rondo_core.strategy_parameters.bounds import Attackers, Iterations, Positive, Share

__all__ = [
    "CentredClip",
    "Combining",
    "GeometricMedian",
    "NearMedian",
    "Nothing",
    "TrimmedMean",
]

_ROUNDING = 1e-9
"""0.29 of 100 clients are 29, though in binary the product is a little less."""


@dataclass(frozen=True, slots=True)
class Combining:
    """What a door asks of a column rule.

    Attributes:
        clips: whether it bounds what a delta can move, and wants the deltas as they came.
    """

    clips: ClassVar[bool] = False

    def refusal(self, updates: int) -> str | None:  # noqa: ARG002 - as those that count them
        """Return why so many updates cannot be combined, naming the rule; None if they can."""
        return None


@dataclass(frozen=True, slots=True)
class Nothing(Combining):
    """No parameter."""


@dataclass(frozen=True, slots=True)
class TrimmedMean(Combining):
    """Per column, the mean without the largest and the smallest values.

    Attributes:
        trim: beta, the share that is cut on each side, rounded down to whole clients.
    """

    trim: Annotated[float, Meta(ge=0, lt=0.5)] = 0.1

    def cut(self, updates: int) -> int:
        """Return floor(beta n)."""
        return math.floor(self.trim * updates + _ROUNDING)

    def refusal(self, updates: int) -> str | None:
        """Refuse what leaves nobody."""
        cut = self.cut(updates)
        if updates > 2 * cut:
            return None
        return f"trimming {cut} of {updates} clients on each side leaves nobody"


@dataclass(frozen=True, slots=True)
class NearMedian(Combining):
    """Bulyan's column rule: the mean of the values nearest the median.

    Attributes:
        attackers: f; all but 2 f of the values count.
    """

    attackers: Attackers = 1

    def refusal(self, updates: int) -> str | None:
        """Refuse what leaves no value."""
        if updates > 2 * self.attackers:
            return None
        return f"bulyan keeps {updates} - 2 x {self.attackers} values a column"


@dataclass(frozen=True, slots=True)
class GeometricMedian(Combining):
    """The point with the least weighted sum of distances to the deltas.

    Attributes:
        smoothing: nu, the distance below which a delta gains no more weight.
        iterations: of Weiszfeld's algorithm, at most.
        tolerance: it ends when the sum of distances falls by less than this share.
    """

    smoothing: Positive = 1e-6
    iterations: Iterations = 100
    tolerance: Share = 1e-10


@dataclass(frozen=True, slots=True)
class CentredClip(Combining):
    """The last round's delta, moved by the clipped differences of the new ones from it.

    Attributes:
        radius: tau, the longest difference that counts in full.
        clip_iterations: L, how often the centre moves in a round.
    """

    clips: ClassVar[bool] = True
    radius: Positive = 10.0
    clip_iterations: Iterations = 1
