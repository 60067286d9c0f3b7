"""What a weight rule may look at, and what it decides: how much each client counts."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np

from rondo_aggregator.strategies.arrays import Float64Array
from rondo_core.errors import EmptyRound, Invalid, StrategyInvalid

__all__ = ["Cohort", "Mix", "as_products", "decode_mix", "encode_mix", "equal_mix", "mix_of"]


@dataclass(frozen=True, slots=True)
class Cohort:
    """The clients of a round, in the manifest's order.

    Attributes:
        clients: their ids.
        examples: n_k of each.
        staleness: of each, versions between its base and the round's.
        steps: of each, how many plain steps its training was worth; None where it did not say.
        products: float64 (clients, clients), the inner products of the deltas, where a rule needs
            all of them. With a centre it has one more row and column, the last.
        squares: float64 (clients,), of each delta the product with itself, where norms are enough.
        with_root: float64 (clients,), of each delta the product with the root's, beside squares.
        scalars: what the rules kept from the round before, empty in the first.
    """

    clients: Sequence[str]
    examples: Sequence[int]
    staleness: Sequence[int] = ()
    steps: Sequence[float | None] = ()
    products: Float64Array | None = None
    squares: Float64Array | None = None
    with_root: Float64Array | None = None
    scalars: Mapping[str, float] = field(default_factory=dict)

    @property
    def declared_steps(self) -> tuple[float, ...]:
        """The steps of each client.

        Raises:
            StrategyInvalid: somebody did not say, or said less than 1.
        """
        steps = self.steps or [None] * len(self.clients)
        for client, number in zip(self.clients, steps, strict=True):
            if number is None or not number >= 1:
                raise StrategyInvalid(f"{client} declared {number} local steps, at least 1 count")
        return tuple(float(number or 0) for number in steps)

    @property
    def norms(self) -> tuple[float, ...]:
        """The L2 norm of each delta."""
        squares = np.diag(as_products(self)) if self.squares is None else _finite(self.squares)
        return tuple(math.sqrt(squares[k]) for k in range(len(self.clients)))

    def products_with(self, root: int) -> Float64Array:
        """Return float64 (clients,): each delta's product with that of the round's root client."""
        return as_products(self)[root] if self.with_root is None else _finite(self.with_root)


@dataclass(frozen=True, slots=True)
class Mix:
    """How much each client counts: the mean is the sum of factor x weight x delta, by the divisor.

    Attributes:
        factors: each delta is multiplied by this before any rule sees it, for example to clip it.
        weights: how much it then counts; 0 keeps it out of every rule.
        divisor: of the weighted sum, positive.
        centre: how much of the kept centre is added to the mean.
        scalars: what the rules keep for the next round.
        control: of each delta, what is added to the kept control variate; empty where none is kept.
        control_kept: how much of the kept control variate stays.
    """

    factors: tuple[float, ...]
    weights: tuple[float, ...]
    divisor: float
    centre: float = 0.0
    scalars: dict[str, float] = field(default_factory=dict)
    control: tuple[float, ...] = ()
    control_kept: float = 1.0

    def __post_init__(self) -> None:
        numbers = (*self.factors, *self.weights, self.centre, *self.scalars.values(), *self.control)
        strange = next((number for number in numbers if not math.isfinite(number)), None)
        if strange is not None:
            raise EmptyRound(f"a client's factor or weight is {strange}, not a finite number")
        if not (math.isfinite(self.divisor) and self.divisor > 0):
            raise EmptyRound(f"the weights of {len(self.weights)} clients sum to {self.divisor}")

    @property
    def coefficients(self) -> Float64Array:
        """Factor times weight of each client, float64 (clients,)."""
        coefficients: Float64Array = np.array(self.factors) * np.array(self.weights)
        return coefficients


def mix_of(
    weights: Sequence[float],
    factors: Sequence[float] | None = None,
    scalars: Mapping[str, float] | None = None,
) -> Mix:
    """Return a mix whose weights are normalised by their sum.

    Raises:
        EmptyRound: the weights sum to nothing, or are not finite.

    >>> mix_of([30, 10]).divisor
    40.0
    """
    ones = tuple(1.0 for _ in weights)
    return Mix(
        factors=ones if factors is None else tuple(map(float, factors)),
        weights=tuple(map(float, weights)),
        divisor=math.fsum(weights),
        scalars=dict(scalars or {}),
    )


def equal_mix(chosen: Sequence[int], clients: int) -> Mix:
    """Return the plain mean of some of the clients.

    >>> equal_mix([2], 3).weights
    (0.0, 0.0, 1.0)
    """
    return mix_of([float(k in set(chosen)) for k in range(clients)])


def as_products(cohort: Cohort) -> Float64Array:
    """Return the inner products.

    Raises:
        Invalid: they were not computed, or are not finite.
    """
    if cohort.products is None:
        raise Invalid("this rule needs the inner products of the updates")
    return _finite(cohort.products)


def _finite(products: Float64Array) -> Float64Array:
    if not np.isfinite(products).all():
        raise Invalid("an inner product of two updates is beyond float64")
    return products


def encode_mix(mix: Mix) -> bytes:
    """Return canonical JSON; every float64 comes back as it was."""
    return msgspec.json.encode(mix, order="sorted")


def decode_mix(data: bytes | memoryview) -> Mix:
    """Read what `encode_mix` wrote.

    Raises:
        Invalid: not a mix; the text names the path.
    """
    try:
        return msgspec.json.decode(data, type=Mix)
    except msgspec.MsgspecError as exc:
        raise Invalid(f"not a mix: {exc}") from exc
