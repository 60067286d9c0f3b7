"""From a strategy's name and parameters to its functions."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, get_args

import numpy as np

from rondo_aggregator.strategies.arrays import Block, Float64Array
from rondo_aggregator.strategies.client_weights.adaptive_clip import adaptively_clipped
from rondo_aggregator.strategies.client_weights.bulyan import bulyan_selection
from rondo_aggregator.strategies.client_weights.clip import clipped
from rondo_aggregator.strategies.client_weights.equal import equal_weights
from rondo_aggregator.strategies.client_weights.examples import examples_mix
from rondo_aggregator.strategies.client_weights.fednova import normalised
from rondo_aggregator.strategies.client_weights.fltrust import trusted
from rondo_aggregator.strategies.client_weights.krum import krum, multi_krum
from rondo_aggregator.strategies.client_weights.scaffold import controlled
from rondo_aggregator.strategies.client_weights.staleness import discounted
from rondo_aggregator.strategies.cohort import Cohort, Mix
from rondo_aggregator.strategies.column_rules.bulyan import near_median
from rondo_aggregator.strategies.column_rules.centred_clip import centred_clip
from rondo_aggregator.strategies.column_rules.geometric_median import geometric_median
from rondo_aggregator.strategies.column_rules.median import median
from rondo_aggregator.strategies.column_rules.trimmed_mean import trimmed_mean
from rondo_aggregator.strategies.combination import ColumnRule, Need, Optimizer, Strategy
from rondo_aggregator.strategies.server_optimizers.adagrad import adagrad
from rondo_aggregator.strategies.server_optimizers.adam import adam
from rondo_aggregator.strategies.server_optimizers.momentum import momentum
from rondo_aggregator.strategies.server_optimizers.none import add_delta
from rondo_aggregator.strategies.server_optimizers.yogi import yogi
from rondo_core.errors import StrategyInvalid
from rondo_core.events import Scalar
from rondo_core.strategies import StrategyChoice, is_own, read_parameters, read_strategy
from rondo_core.strategy_parameters.server_optimizers import Step

__all__ = ["OwnRule", "Owned", "Strategies", "composed", "named", "own_strategy"]

Strategies = Callable[[str, Mapping[str, Scalar]], Strategy]
"""Finds a strategy by name and parameters; raises `StrategyInvalid`."""


class OwnRule(NamedTuple):
    """An organisation's own column rule: (deltas, weights, parameters) to one value a column."""

    function: Callable[..., Float64Array]
    parameters: type[Any]


Owned = Callable[[str], OwnRule | None]
"""Finds an organisation's own rule by its strategy's name."""


class _Weights(NamedTuple):
    function: Callable[[Cohort, Any], Mix]
    need: Need = "nothing"


class _Rule(NamedTuple):
    reweigh: Callable[[Cohort, Mix, Any], Mix] | None = None
    order: Callable[..., Float64Array] | None = None
    need: Need = "nothing"


class _Stepper(NamedTuple):
    function: Callable[..., Any]
    slots: Callable[[Any], dict[str, float]]


_WEIGHTS: Mapping[str, _Weights] = MappingProxyType(
    {
        "adaptive-clip": _Weights(adaptively_clipped, "norms"),
        "bulyan": _Weights(bulyan_selection, "products"),
        "clip": _Weights(clipped, "norms"),
        "equal": _Weights(equal_weights),
        "examples": _Weights(examples_mix),
        "fednova": _Weights(normalised),
        "fltrust": _Weights(trusted, "root-products"),
        "krum": _Weights(krum, "products"),
        "multi-krum": _Weights(multi_krum, "products"),
        "scaffold": _Weights(controlled),
        "staleness": _Weights(discounted),
    }
)
_RULES: Mapping[str, _Rule] = MappingProxyType(
    {
        "bulyan": _Rule(order=near_median),
        "centred-clip": _Rule(reweigh=centred_clip, need="products"),
        "geometric-median": _Rule(reweigh=geometric_median, need="products"),
        "mean": _Rule(),
        "median": _Rule(order=median),
        "trimmed-mean": _Rule(order=trimmed_mean),
    }
)


def _moments(parameters: Any) -> dict[str, float]:  # noqa: ANN401 - of any adaptive optimizer
    corrected = getattr(parameters, "bias_correction", False)
    return {"moment": 0.0, "second": 0.0 if corrected else parameters.tau**2}


_OPTIMIZERS: Mapping[str, _Stepper] = MappingProxyType(
    {
        "adagrad": _Stepper(adagrad, _moments),
        "adam": _Stepper(adam, _moments),
        "momentum": _Stepper(momentum, lambda _: {"velocity": 0.0}),
        "none": _Stepper(add_delta, lambda _: {}),
        "yogi": _Stepper(yogi, _moments),
    }
)


def named(name: str, parameters: Mapping[str, Scalar], *, owned: Owned) -> Strategy:
    """Find a strategy.

    Args:
        name: of one of ours, or with a dot of an organisation's own.
        parameters: of it.
        owned: finds an organisation's own rule.

    Raises:
        StrategyInvalid: no such strategy or parameter, or a value out of bounds.

    >>> named("fedadam", {}, owned=lambda name: None).slots
    {'moment': 0.0, 'second': 1e-06}
    """
    if not is_own(name):
        return composed(read_strategy(name, parameters))
    rule = owned(name)
    if rule is None:
        raise StrategyInvalid(f"strategy {name!r} is not installed where rounds are combined")
    return own_strategy(name, rule, parameters)


def composed(choice: StrategyChoice) -> Strategy:
    """Put a strategy together from its parts."""
    weights, rule = _WEIGHTS[choice.parts.client_weights], _RULES[choice.parts.column_rule]
    stepper = _OPTIMIZERS[choice.parts.server_optimizer]
    slots = stepper.slots(choice.server_optimizer)
    centred = rule.reweigh is centred_clip
    return Strategy(
        name=choice.name,
        client_weights=_bound(weights.function, choice.client_weights),
        need=max(weights.need, rule.need, key=get_args(Need).index),
        column_rule=ColumnRule(
            reweigh=None if rule.reweigh is None else _bound(rule.reweigh, choice.column_rule),
            order=None if rule.order is None else _bound(rule.order, choice.column_rule),
        ),
        optimizer=_optimizer(stepper, slots, choice.server_optimizer),
        root=getattr(choice.client_weights, "root", None),
        centred=centred,
        controlled=weights.function is controlled,
        stateful=bool(slots) or centred or weights.function in {adaptively_clipped, controlled},
    )


def own_strategy(name: str, rule: OwnRule, parameters: Mapping[str, Scalar]) -> Strategy:
    """Make a strategy of an organisation's own column rule: examples as weights, no optimizer.

    Raises:
        StrategyInvalid: its parameters do not take these values.
    """
    own = read_parameters(name, rule.parameters, parameters)

    def order(block: Block, weights: Float64Array) -> Float64Array:
        columns = block.shape[1]
        try:
            found = np.asarray(rule.function(block, weights, own), np.float64)
        except Exception as exc:
            raise StrategyInvalid(f"strategy {name!r} raised {type(exc).__name__}: {exc}") from exc
        if found.shape != (columns,):
            raise StrategyInvalid(
                f"strategy {name!r} gave shape {found.shape} for {columns} columns"
            )
        if not np.isfinite(found).all():
            raise StrategyInvalid(f"strategy {name!r} gave a value that is not finite")
        return found

    return Strategy(
        name=name,
        client_weights=_bound(examples_mix, read_strategy("fedavg", {}).client_weights),
        need="nothing",
        column_rule=ColumnRule(order=order, float64=True),
        optimizer=_optimizer(_OPTIMIZERS["none"], {}, Step()),
    )


def _optimizer(stepper: _Stepper, slots: dict[str, float], parameters: object) -> Optimizer:
    def step(delta: Float64Array, mine: Any, number: int) -> Any:  # noqa: ANN401 - arrays
        return stepper.function(delta, mine, parameters, number)

    return Optimizer(slots, step)


def _bound(function: Callable[..., Any], parameters: object) -> Callable[..., Any]:
    def call(*arguments: Any) -> Any:  # noqa: ANN401 - what the rule takes and returns
        return function(*arguments, parameters)

    return call
