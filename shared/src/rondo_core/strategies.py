"""Whether a strategy's parameters fit, and what follows from a strategy for those who run it.

The doors (gateway, dispatcher) refuse what is not in `rondo_core.strategy_names`; the aggregator
computes it. A name with a dot is an organisation's own strategy (``acme.soft-median``), which only
the aggregator can know: the first round that it combines says so if it does not.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import msgspec

from rondo_core.errors import StrategyInvalid
from rondo_core.events import Scalar
from rondo_core.faults import read_fault
from rondo_core.strategy_names import (
    CLIENT_WEIGHTS,
    COLUMN_RULES,
    COMPOSED,
    DEFAULT_PARTS,
    PARTS,
    SERVER_OPTIMIZERS,
    STRATEGIES,
    Parts,
)
from rondo_core.strategy_parameters.client_weights import Staleness

__all__ = [
    "StrategyChoice",
    "buffering",
    "is_own",
    "keeps_control",
    "needs_steps",
    "read_parameters",
    "read_strategy",
    "root_client",
]


@dataclass(frozen=True, slots=True)
class StrategyChoice:
    """A strategy with its parameters, all within bounds.

    Attributes:
        name: as it was asked for.
        parts: the names of its parts.
        client_weights: an instance of the class in `CLIENT_WEIGHTS`.
        column_rule: of `COLUMN_RULES`.
        server_optimizer: of `SERVER_OPTIMIZERS`.
    """

    name: str
    parts: Parts
    client_weights: Any
    column_rule: Any
    server_optimizer: Any

    def refusal(self, updates: int) -> str | None:
        """Return why a round of so many updates cannot be combined; None if it can be."""
        reason: str | None = self.client_weights.refusal(updates)
        if reason is None:
            reason = self.column_rule.refusal(self.client_weights.counting(updates))
        return reason


def is_own(name: str) -> bool:
    """Say whether a strategy is an organisation's own, which only the aggregator can judge."""
    return "." in name


def needs_steps(name: str, parameters: Mapping[str, Scalar]) -> bool:
    """Say whether clients must declare how many steps they took; not so of an unknown strategy.

    >>> needs_steps("fednova", {}), needs_steps("fedavg", {})
    (True, False)
    """
    return _weighing(name, parameters) in {"fednova", "scaffold"}


def root_client(name: str, parameters: Mapping[str, Scalar]) -> str | None:
    """Return the client without whose update no round can be combined, where there is one.

    >>> root_client("fltrust", {"root": "hospital-a-01234567"}), root_client("fedavg", {})
    ('hospital-a-01234567', None)
    """
    return str(parameters["root"]) if _weighing(name, parameters) == "fltrust" else None


def keeps_control(name: str, parameters: Mapping[str, Scalar]) -> bool:
    """Say whether clients correct their steps by control variates.

    >>> keeps_control("composed", {"client_weights": "scaffold", "population": 9})
    True
    """
    return _weighing(name, parameters) == "scaffold"


def buffering(name: str, parameters: Mapping[str, Scalar]) -> Staleness | None:
    """Return how a run takes updates that began from an older version; None where it takes none.

    >>> buffering("fedbuff", {"buffer_size": 3}).buffer_size, buffering("fedavg", {})
    (3, None)
    """
    if _weighing(name, parameters) != "staleness":
        return None
    weights: Staleness = read_strategy(name, parameters).client_weights
    return weights


def read_strategy(name: str, parameters: Mapping[str, Scalar]) -> StrategyChoice:
    """Read a strategy's parameters.

    Raises:
        StrategyInvalid: no such strategy, part or parameter, a value out of bounds, or parts that
            cannot meet.

    >>> read_strategy("fedavgm", {"momentum": 0.5}).server_optimizer
    Momentum(server_learning_rate=1.0, momentum=0.5, nesterov=False)
    >>> read_strategy("krum", {"attackers": -1})
    Traceback (most recent call last):
    rondo_core.errors.StrategyInvalid: strategy 'krum': attackers: Expected `int` >= 0, found -1
    """
    parts, rest = _parts(name, parameters)
    _refuse_scaled(name, parts)
    kinds = (
        CLIENT_WEIGHTS[parts.client_weights],
        COLUMN_RULES[parts.column_rule],
        SERVER_OPTIMIZERS[parts.server_optimizer],
    )
    known = {field.name for kind in kinds for field in fields(kind)}
    _refuse_unknown(name, rest, known | (set(PARTS) if name == COMPOSED else set()))
    return StrategyChoice(name, parts, *(_convert(name, kind, rest) for kind in kinds))


def read_parameters(name: str, kind: type[Any], parameters: Mapping[str, Scalar]) -> Any:  # noqa: ANN401 - an instance of `kind`, which a variable cannot say
    """Read the parameters of one class; used for an organisation's own strategy.

    Raises:
        StrategyInvalid: no such parameter, or a value out of bounds.
    """
    _refuse_unknown(name, parameters, {field.name for field in fields(kind)})
    return _convert(name, kind, parameters)


def _parts(name: str, parameters: Mapping[str, Scalar]) -> tuple[Parts, Mapping[str, Scalar]]:
    if name != COMPOSED:
        if name not in STRATEGIES:
            known = ", ".join(sorted([*STRATEGIES, COMPOSED]))
            raise StrategyInvalid(f"unknown strategy {name!r}; known: {known}")
        return STRATEGIES[name], parameters
    chosen = {part: parameters.get(part, default) for part, default in DEFAULT_PARTS.items()}
    for part, value in chosen.items():
        if value not in PARTS[part]:
            known = ", ".join(sorted(PARTS[part]))
            raise StrategyInvalid(f"strategy {name!r}: {part}: {value!r} is none of {known}")
    rest = {key: value for key, value in parameters.items() if key not in chosen}
    return Parts(**{part: str(value) for part, value in chosen.items()}), rest


def _refuse_scaled(name: str, parts: Parts) -> None:
    scales = CLIENT_WEIGHTS[parts.client_weights].scales
    if scales and COLUMN_RULES[parts.column_rule].clips:
        raise StrategyInvalid(
            f"strategy {name!r}: {parts.column_rule} clips by itself, and client weights"
            f" {parts.client_weights!r} scale the deltas before it"
        )


def _weighing(name: str, parameters: Mapping[str, Scalar]) -> str:
    if name == COMPOSED:
        return str(parameters.get("client_weights"))
    return STRATEGIES[name].client_weights if name in STRATEGIES else ""


def _refuse_unknown(name: str, parameters: Mapping[str, Scalar], known: set[str]) -> None:
    if strange := sorted(set(parameters) - known):
        takes = ", ".join(sorted(known)) or "none"
        raise StrategyInvalid(
            f"strategy {name!r} has no parameter {strange[0]!r}; it takes: {takes}"
        )


def _convert(name: str, kind: type[Any], parameters: Mapping[str, Scalar]) -> Any:  # noqa: ANN401 - as read_parameters
    own = {field.name for field in fields(kind)}
    given = {key: value for key, value in parameters.items() if key in own}
    try:
        return msgspec.convert(given, type=kind)
    except msgspec.ValidationError as exc:
        fault = read_fault(exc, given)
        where = f"{fault.steps[0]}: " if fault.steps else ""
        raise StrategyInvalid(f"strategy {name!r}: {where}{fault.sentence}") from exc
