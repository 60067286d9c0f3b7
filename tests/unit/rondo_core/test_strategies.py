"""Strategies by name: what is refused at the doors, and what is left to the aggregator."""

from dataclasses import fields

import pytest

from rondo_core.errors import Invalid, StrategyInvalid
from rondo_core.events import Scalar
from rondo_core.optimizer_state import decode_state
from rondo_core.strategies import (
    is_own,
    keeps_control,
    needs_steps,
    read_parameters,
    read_strategy,
)
from rondo_core.strategy_names import (
    CLIENT_WEIGHTS,
    COLUMN_RULES,
    COMPOSED,
    SERVER_OPTIMIZERS,
    STRATEGIES,
)
from rondo_core.strategy_parameters.column_rules import TrimmedMean
from rondo_core.strategy_parameters.server_optimizers import Yogi

NEEDED: dict[str, dict[str, Scalar]] = {
    "fltrust": {"root": "hospital-a"},
    "scaffold": {"population": 10},
}


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_strategy_has_defaults_that_are_within_bounds(name: str) -> None:
    choice = read_strategy(name, NEEDED.get(name, {}))

    assert choice.parts == STRATEGIES[name]


@pytest.mark.parametrize(
    ("name", "parameters", "rule"),
    [
        ("magic", {}, "unknown strategy 'magic'; known: adaptive-clipped-mean, bulyan"),
        ("fedavg", {"beta": 1}, "'fedavg' has no parameter 'beta'; it takes: examples_cap, server"),
        ("median", {"column_rule": "mean"}, "'median' has no parameter 'column_rule'"),
        ("krum", {"attackers": -1}, "attackers: Expected `int` >= 0, found -1"),
        ("krum", {"attackers": 1.5}, "attackers: Expected `int`, got `float`"),
        ("fedavg", {"examples_cap": True}, "Expected `int`, got `bool`, found True"),
        ("fedavgm", {"momentum": float("nan")}, "Expected `float` >= 0.0, found nan"),
        ("fedavgm", {"momentum": 1}, "Expected `float` < 1.0, found 1"),
        ("fedadam", {"tau": 0}, "tau: Expected `float` > 0.0, found 0"),
        ("fltrust", {}, "missing required field `root`"),
        ("scaffold", {}, "missing required field `population`"),
        ("scaffold", {"population": 0}, "population: Expected `int` >= 1, found 0"),
        ("composed", {"column_rule": "mode"}, "column_rule: 'mode' is none of bulyan, centred"),
        ("composed", {"server_optimizer": 3}, "server_optimizer: 3 is none of adagrad"),
        *(
            (
                "composed",
                {"client_weights": name, "column_rule": "centred-clip", **NEEDED.get(name, {})},
                f"centred-clip clips by itself, and client weights '{name}' scale the deltas",
            )
            for name in ("adaptive-clip", "clip", "fednova", "fltrust", "staleness")
        ),
        ("composed", {"trim": 0.1}, "has no parameter 'trim'; it takes: client_weights"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_rule(
    name: str, parameters: dict[str, Scalar], rule: str
) -> None:
    with pytest.raises(StrategyInvalid, match=rule.replace("(", r"\(")):
        read_strategy(name, parameters)


@pytest.mark.parametrize("name", ["magic", "acme.soft", "composed", "fedavg"])
def test_who_divides_by_no_steps_needs_none(name: str) -> None:
    assert not needs_steps(name, {})
    assert not keeps_control(name, {})


def test_a_composed_strategy_takes_the_parameters_of_its_parts() -> None:
    parameters: dict[str, Scalar] = {"column_rule": "trimmed-mean", "trim": 0.25}

    choice = read_strategy(COMPOSED, {**parameters, "server_optimizer": "yogi", "tau": 0.5})

    assert choice.column_rule == TrimmedMean(trim=0.25)
    assert choice.server_optimizer == Yogi(tau=0.5)


def test_whole_numbers_are_taken_where_numbers_are_wanted() -> None:
    assert read_strategy("fedavgm", {"momentum": 0}).server_optimizer.momentum == 0


def test_parts_that_can_meet_in_one_strategy_share_no_parameter_by_accident() -> None:
    tables = (CLIENT_WEIGHTS, COLUMN_RULES, SERVER_OPTIMIZERS)
    owners: dict[str, set[int]] = {}
    for number, table in enumerate(tables):
        for kind in table.values():
            for one in fields(kind):
                owners.setdefault(one.name, set()).add(number)

    assert {name for name, where in owners.items() if len(where) > 1} == {"attackers"}


def test_a_name_with_a_dot_is_an_organisations_own() -> None:
    assert is_own("acme.soft-median")
    assert not is_own("fedavg")


def test_the_parameters_of_an_own_strategy_are_read_by_its_class() -> None:
    kind = TrimmedMean

    assert read_parameters("acme.trim", kind, {"trim": 0.25}) == kind(trim=0.25)
    with pytest.raises(
        StrategyInvalid, match=r"'acme\.trim' has no parameter 'cut'; it takes: trim"
    ):
        read_parameters("acme.trim", kind, {"cut": 1})


def test_bytes_that_are_no_state_are_refused() -> None:
    with pytest.raises(Invalid, match=r"not an optimizer state: .*`layout`"):
        decode_state(b"{}")
