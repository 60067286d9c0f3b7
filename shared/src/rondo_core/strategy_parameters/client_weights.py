"""The parameters of client weights."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from rondo_core.strategy_parameters.bounds import Attackers, Count, Positive

__all__ = [
    "AdaptiveClip",
    "Bulyan",
    "Clip",
    "Equal",
    "Examples",
    "FLTrust",
    "FedNova",
    "Krum",
    "MultiKrum",
    "Scaffold",
    "Staleness",
    "Weighting",
]


@dataclass(frozen=True, slots=True)
class Weighting:
    """What a door asks of client weights.

    Attributes:
        scales: whether deltas are multiplied before the column rule sees them.
    """

    scales: ClassVar[bool] = False

    def refusal(self, updates: int) -> str | None:  # noqa: ARG002 - as those that count them
        """Return why so many updates cannot be weighed, naming the rule; None if they can."""
        return None

    def counting(self, updates: int) -> int:
        """Return how many of so many updates the column rule sees, at most."""
        return updates


@dataclass(frozen=True, slots=True)
class Examples(Weighting):
    """A client counts as many times as it has examples.

    Attributes:
        examples_cap: no client counts more than this; the default is the most one may declare.
    """

    examples_cap: Count = 10**12


@dataclass(frozen=True, slots=True)
class Equal(Weighting):
    """Every client counts once."""


@dataclass(frozen=True, slots=True)
class Clip(Weighting):
    """Deltas longer than a norm are scaled down to it.

    Attributes:
        clip_norm: the L2 norm over the whole model.
        clip_weights: how the clipped deltas count.
    """

    scales: ClassVar[bool] = True
    clip_norm: Positive = 1.0
    clip_weights: Literal["equal", "examples"] = "equal"


@dataclass(frozen=True, slots=True)
class AdaptiveClip(Weighting):
    """The norm follows a quantile of the clients' norms, from round to round.

    Attributes:
        initial_clip_norm: of the run's first round.
        clip_quantile: the share of clients that shall not be clipped.
        clip_learning_rate: how fast the norm moves.
    """

    scales: ClassVar[bool] = True
    initial_clip_norm: Positive = 0.1
    clip_quantile: Annotated[float, Meta(ge=0, le=1)] = 0.5
    clip_learning_rate: Annotated[float, Meta(gt=0, le=10)] = 0.2


@dataclass(frozen=True, slots=True)
class Krum(Weighting):
    """The one delta that is nearest to its neighbours.

    Attributes:
        attackers: f, how many clients may lie; a round needs more than 2 f + 2 updates.
    """

    attackers: Attackers = 1

    def refusal(self, updates: int) -> str | None:
        """Refuse what leaves no majority of honest neighbours."""
        if updates > 2 * self.attackers + 2:
            return None
        rule = f"more than 2 x {self.attackers} + 2 updates, and there are {updates}"
        return f"krum with {self.attackers} attackers needs {rule}"

    def counting(self, updates: int) -> int:  # noqa: ARG002 - as Weighting's
        """Return 1."""
        return 1


@dataclass(frozen=True, slots=True)
class MultiKrum(Weighting):
    """The plain mean of the deltas with the best scores.

    Attributes:
        attackers: f, how many clients may lie; a round needs more than 2 f + 2 updates.
        selected: m, how many are averaged; None for all but f + 2.
    """

    attackers: Attackers = 1
    selected: Count | None = None

    def refusal(self, updates: int) -> str | None:
        """Refuse as Krum does, and more selected ones than there are updates."""
        refusal = Krum(self.attackers).refusal(updates)
        if refusal is None and self.counting(updates) > updates:
            return f"multi-krum: selected {self.selected} of {updates} updates"
        return refusal

    def counting(self, updates: int) -> int:
        """Return m."""
        return self.selected or updates - self.attackers - 2


@dataclass(frozen=True, slots=True)
class Bulyan(Weighting):
    """Repeated Krum, until all but 2 f are chosen.

    Attributes:
        attackers: f, how many clients may lie; a round needs at least 4 f + 3 updates.
    """

    attackers: Attackers = 1

    def refusal(self, updates: int) -> str | None:
        """Refuse what leaves the column rule no majority of honest values."""
        if updates >= 4 * self.attackers + 3:
            return None
        rule = f"at least 4 x {self.attackers} + 3 updates, and there are {updates}"
        return f"bulyan with {self.attackers} attackers needs {rule}"

    def counting(self, updates: int) -> int:
        """Return n - 2 f."""
        return updates - 2 * self.attackers


@dataclass(frozen=True, slots=True)
class FLTrust(Weighting):
    """Clients count by their cosine with the update of a client that the operator trusts.

    Attributes:
        root: its client id; it trains on the root data set, and its update is not averaged.
    """

    scales: ClassVar[bool] = True
    root: Annotated[str, Meta(min_length=1, max_length=80)]


@dataclass(frozen=True, slots=True)
class FedNova(Weighting):
    """Deltas count by examples, each divided by the steps that it took.

    Attributes:
        examples_cap: no client counts more than this.
    """

    scales: ClassVar[bool] = True
    examples_cap: Count = 10**12


@dataclass(frozen=True, slots=True)
class Scaffold(Weighting):
    """The plain mean, and a control variate that follows the clients' mean step.

    Attributes:
        population: N, how many clients the run draws its cohorts from; a round's share in the
            control variate is its number of updates by this.
    """

    population: Annotated[int, Meta(ge=1, le=10**9)]

    def refusal(self, updates: int) -> str | None:
        """Refuse more updates than there are clients."""
        if updates <= self.population:
            return None
        return f"{updates} updates in a round of a population of {self.population}"


@dataclass(frozen=True, slots=True)
class Staleness(Weighting):
    """Older updates count less, and the sum is divided by their number.

    Attributes:
        staleness_exponent: a of (1 + staleness)^-a.
        max_staleness: what is older is left out; None for no bound.
        buffer_size: K, so many accepted updates seal a round; None for the round's target.
    """

    scales: ClassVar[bool] = True
    staleness_exponent: Annotated[float, Meta(ge=0, le=10)] = 0.5
    max_staleness: Annotated[int, Meta(ge=0, le=10**6)] | None = None
    buffer_size: Annotated[int, Meta(ge=1, le=10**6)] | None = None
