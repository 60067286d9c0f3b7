"""The parameters of the parts that strategies are made of, with their defaults and bounds.

A strategy is client weights, a column rule and a server optimizer; each part has one class here and
one file in the aggregator, which cites the paper. Bounds are checked where parameters are read
(`rondo_core.strategies.read_strategy`), at the doors and again before a round is combined.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import Meta

__all__ = [
    "Adagrad",
    "Adam",
    "AdaptiveClip",
    "Bulyan",
    "CentredClip",
    "Clip",
    "Equal",
    "Examples",
    "FLTrust",
    "FedNova",
    "GeometricMedian",
    "Krum",
    "Momentum",
    "MultiKrum",
    "Nothing",
    "Scaffold",
    "Staleness",
    "Step",
    "TrimmedMean",
    "Yogi",
]

Share = Annotated[float, Meta(ge=0, lt=1)]
Positive = Annotated[float, Meta(gt=0, le=1e30)]
Count = Annotated[int, Meta(ge=1, le=10**12)]
Attackers = Annotated[int, Meta(ge=0, le=10**6)]
Iterations = Annotated[int, Meta(ge=1, le=1000)]


@dataclass(frozen=True, slots=True)
class Nothing:
    """No parameter."""


@dataclass(frozen=True, slots=True)
class Examples:
    """A client counts as many times as it has examples.

    Attributes:
        examples_cap: no client counts more than this; the default is the most one may declare.
    """

    examples_cap: Count = 10**12


@dataclass(frozen=True, slots=True)
class Equal:
    """Every client counts once."""


@dataclass(frozen=True, slots=True)
class Clip:
    """Deltas longer than a norm are scaled down to it.

    Attributes:
        clip_norm: the L2 norm over the whole model.
        clip_weights: how the clipped deltas count.
    """

    clip_norm: Positive = 1.0
    clip_weights: Literal["equal", "examples"] = "equal"


@dataclass(frozen=True, slots=True)
class AdaptiveClip:
    """The norm follows a quantile of the clients' norms, from round to round.

    Attributes:
        initial_clip_norm: of the run's first round.
        clip_quantile: the share of clients that shall not be clipped.
        clip_learning_rate: how fast the norm moves.
    """

    initial_clip_norm: Positive = 0.1
    clip_quantile: Annotated[float, Meta(ge=0, le=1)] = 0.5
    clip_learning_rate: Annotated[float, Meta(gt=0, le=10)] = 0.2


@dataclass(frozen=True, slots=True)
class Krum:
    """The one delta that is nearest to its neighbours.

    Attributes:
        attackers: f, how many clients may lie; a round needs more than 2 f + 2 updates.
    """

    attackers: Attackers = 1


@dataclass(frozen=True, slots=True)
class MultiKrum:
    """The plain mean of the deltas with the best scores.

    Attributes:
        attackers: f, how many clients may lie; a round needs more than 2 f + 2 updates.
        selected: m, how many are averaged; None for all but f + 2.
    """

    attackers: Attackers = 1
    selected: Count | None = None


@dataclass(frozen=True, slots=True)
class Bulyan:
    """Repeated Krum, then per column the mean of the values nearest the median.

    Attributes:
        attackers: f, how many clients may lie; a round needs at least 4 f + 3 updates.
    """

    attackers: Attackers = 1


@dataclass(frozen=True, slots=True)
class FLTrust:
    """Clients count by their cosine with the update of a client that the operator trusts.

    Attributes:
        root: its client id; it trains on the root data set, and its update is not averaged.
    """

    root: Annotated[str, Meta(min_length=1, max_length=80)]


@dataclass(frozen=True, slots=True)
class FedNova:
    """Deltas count by examples, each divided by the steps that it took.

    Attributes:
        examples_cap: no client counts more than this.
    """

    examples_cap: Count = 10**12


@dataclass(frozen=True, slots=True)
class Scaffold:
    """The plain mean, and a control variate that follows the clients' mean step.

    Attributes:
        population: N, how many clients the run draws its cohorts from; a round's share in the
            control variate is its number of updates by this.
    """

    population: Annotated[int, Meta(ge=1, le=10**9)]


@dataclass(frozen=True, slots=True)
class Staleness:
    """Older updates count less, and the sum is divided by their number.

    Attributes:
        staleness_exponent: a of (1 + staleness)^-a.
        max_staleness: what is older is left out; None for no bound.
    """

    staleness_exponent: Annotated[float, Meta(ge=0, le=10)] = 0.5
    max_staleness: Annotated[int, Meta(ge=0, le=10**6)] | None = None


@dataclass(frozen=True, slots=True)
class TrimmedMean:
    """Per column, the mean without the largest and the smallest values.

    Attributes:
        trim: beta, the share that is cut on each side, rounded down to whole clients.
    """

    trim: Annotated[float, Meta(ge=0, lt=0.5)] = 0.1


@dataclass(frozen=True, slots=True)
class GeometricMedian:
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
class CentredClip:
    """The last round's delta, moved by the clipped differences of the new ones from it.

    Attributes:
        radius: tau, the longest difference that counts in full.
        clip_iterations: L, how often the centre moves in a round.
    """

    radius: Positive = 10.0
    clip_iterations: Iterations = 1


@dataclass(frozen=True, slots=True)
class Step:
    """The combined delta is the step.

    Attributes:
        server_learning_rate: eta.
    """

    server_learning_rate: Positive = 1.0


@dataclass(frozen=True, slots=True)
class Momentum:
    """Steps add up.

    Attributes:
        server_learning_rate: eta.
        momentum: beta, the share of the last step's direction that is kept.
        nesterov: look ahead along the momentum, as Hsu et al. do.
    """

    server_learning_rate: Positive = 1.0
    momentum: Share = 0.9
    nesterov: bool = False


@dataclass(frozen=True, slots=True)
class Adagrad:
    """Columns that moved much move less.

    Attributes:
        server_learning_rate: eta.
        beta1: of the first moment.
        tau: adaptivity, added to the root; the second moment begins at its square.
    """

    server_learning_rate: Positive = 0.1
    beta1: Share = 0.0
    tau: Positive = 1e-3


@dataclass(frozen=True, slots=True)
class Adam:
    """Columns that moved much of late move less.

    Attributes:
        server_learning_rate: eta.
        beta1: of the first moment.
        beta2: of the second moment.
        tau: adaptivity, added to the root.
        bias_correction: False for the paper's form, whose second moment begins at tau squared;
            True for the form of the authors' code: it begins at 0 and both moments are corrected.
    """

    server_learning_rate: Positive = 0.1
    beta1: Share = 0.9
    beta2: Share = 0.99
    tau: Positive = 1e-3
    bias_correction: bool = False


@dataclass(frozen=True, slots=True)
class Yogi:
    """As Adam, but the second moment forgets no faster than it learns.

    Attributes:
        server_learning_rate: eta.
        beta1: of the first moment.
        beta2: of the second moment.
        tau: adaptivity, added to the root.
        bias_correction: as Adam's.
    """

    server_learning_rate: Positive = 0.1
    beta1: Share = 0.9
    beta2: Share = 0.99
    tau: Positive = 1e-3
    bias_correction: bool = False
