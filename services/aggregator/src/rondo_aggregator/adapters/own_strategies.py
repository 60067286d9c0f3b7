"""An organisation's own strategies: functions that installed distributions offer.

A distribution names a function under the entry point group ``rondo.strategies``; the name has a dot
(``acme.soft-median``). The type of the function's ``parameters`` says what a run may set.
"""

from collections.abc import Mapping
from dataclasses import is_dataclass
from importlib.metadata import entry_points
from typing import get_type_hints

from rondo_aggregator.strategies.combination import Strategy
from rondo_aggregator.strategies.registry import OwnRule, named
from rondo_core.errors import StrategyInvalid
from rondo_core.events import Scalar

__all__ = ["GROUP", "installed_rule", "installed_strategy"]

GROUP = "rondo.strategies"


def installed_strategy(name: str, parameters: Mapping[str, Scalar]) -> Strategy:
    """Find one of Rondo's strategies or an installed one, with its parameters.

    Raises:
        StrategyInvalid: there is none, it cannot be loaded, or it does not take these parameters.
    """
    return named(name, parameters, owned=installed_rule)


def installed_rule(name: str) -> OwnRule | None:
    """Load the function that is installed under a name, or return None.

    Raises:
        StrategyInvalid: it cannot be loaded, or its ``parameters`` have no dataclass as their type.
    """
    for entry in entry_points(group=GROUP, name=name):
        try:
            function = entry.load()
            parameters = get_type_hints(function).get("parameters")
        except Exception as exc:
            raise StrategyInvalid(f"strategy {name!r} cannot be loaded: {exc}") from exc
        if not (isinstance(parameters, type) and is_dataclass(parameters)):
            raise StrategyInvalid(f"strategy {name!r}: its parameters must be a dataclass")
        return OwnRule(function, parameters)
    return None
