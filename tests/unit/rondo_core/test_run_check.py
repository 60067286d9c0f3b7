"""Whether a run can be done, before anybody begins it."""

from datetime import UTC, datetime
from typing import Any

import pytest

from rondo_core.errors import SpecInvalid
from rondo_core.events import RunRequested, Scalar
from rondo_core.run_check import depends_on_spec, run_fault, training_fault
from rondo_core.strategies import read_strategy
from rondo_core.strategy_names import CLIENT_WEIGHTS, COMPOSED
from rondo_core.training_parameters import TrainingParameters


def run(**changes: Any) -> RunRequested:
    return RunRequested(
        **{
            "event_id": "RunRequested/run-1",
            "run_id": "run-1",
            "occurred_at": datetime(2026, 1, 2, tzinfo=UTC),
            "model": "digits",
            "target": 10,
            "quorum": 10,
            **changes,
        }
    )


@pytest.mark.parametrize(
    ("strategy", "parameters", "fewest", "rule"),
    [
        ("krum", {}, 5, "krum with 1 attackers needs more than 2 x 1 + 2 updates, and there are 4"),
        ("krum", {"attackers": 3}, 9, "more than 2 x 3 + 2 updates, and there are 8"),
        ("multi-krum", {"attackers": 2}, 7, "more than 2 x 2 + 2 updates, and there are 6"),
        ("multi-krum", {"selected": 8}, 8, "multi-krum: selected 8 of 7 updates"),
        ("bulyan", {}, 7, "bulyan with 1 attackers needs at least 4 x 1 + 3 updates"),
        ("composed", {"column_rule": "bulyan"}, 3, "bulyan keeps 2 - 2 x 1 values a column"),
        (
            "composed",
            {"client_weights": "multi-krum", "column_rule": "bulyan"},
            6,
            "bulyan keeps 2 - 2 x 1 values a column",
        ),
    ],
)
def test_fewer_updates_than_the_strategy_can_combine_are_refused_as_target_and_as_quorum(
    strategy: str, parameters: dict[str, Scalar], fewest: int, rule: str
) -> None:
    def fault(target: int, quorum: int) -> str | None:
        wanted = {"strategy": strategy, "parameters": parameters}
        return run_fault(run(target=target, quorum=quorum, **wanted))

    assert fault(fewest, fewest) is None
    assert (fault(fewest - 1, fewest - 1) or "").startswith(f"target {fewest - 1}: ")
    assert (fault(fewest, fewest - 1) or "").startswith(f"quorum {fewest - 1}: ")
    assert rule in (fault(fewest, fewest - 1) or "")


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"target": 9}, "target 9 is below quorum 10"),
        ({"strategy": "magic"}, "unknown strategy 'magic'"),
        (
            {"strategy": "trimmed-mean", "parameters": {"trim": 0.5 - 1e-12}},
            "target 10: trimming 5 of 10 clients on each side leaves nobody",
        ),
        (
            {
                "strategy": COMPOSED,
                "parameters": {"client_weights": "krum", "column_rule": "bulyan"},
            },
            "target 10: bulyan keeps 1 - 2 x 1 values a column",
        ),
        (
            {"strategy": "scaffold", "parameters": {"population": 9}},
            "target 10: 10 updates in a round of a population of 9",
        ),
        ({"training": {"epochs": 0}}, "training: $.training.epochs: "),
        (
            {
                "strategy": "scaffold",
                "parameters": {"population": 10},
                "training": {"proximal_mu": 0.5},
            },
            "training: proximal_mu 0.5: SCAFFOLD goes without",
        ),
    ],
)
def test_what_can_never_be_done_is_told_with_the_value_and_the_rule(
    changes: dict[str, Any], fault: str
) -> None:
    assert (run_fault(run(**changes)) or "").startswith(fault)


@pytest.mark.parametrize("strategy", ["fedavg", "median", "acme.soft-median"])
def test_a_run_that_can_be_done_has_no_fault(strategy: str) -> None:
    assert run_fault(run(strategy=strategy, quorum=1)) is None


@pytest.mark.parametrize("strategy", ["fednova", "scaffold"])
def test_adam_does_not_go_with_steps_that_count_whoever_says_it(strategy: str) -> None:
    wanted = run(strategy=strategy, parameters={"population": 10} if strategy == "scaffold" else {})
    adam, sgd = TrainingParameters(optimizer="adam"), TrainingParameters()
    overridden = run(strategy=strategy, parameters=wanted.parameters, training={"optimizer": "sgd"})
    rule = f"training: optimizer 'adam': strategy {strategy!r} needs plain steps"

    assert (depends_on_spec(wanted), depends_on_spec(overridden)) == (True, False)
    assert training_fault(wanted, adam) == rule
    assert training_fault(wanted, sgd) is None
    assert training_fault(overridden, adam) is None
    assert not depends_on_spec(run(strategy="fedavg"))
    assert training_fault(run(strategy="fedavg"), adam) is None


@pytest.mark.parametrize("name", sorted(CLIENT_WEIGHTS))
def test_no_weights_let_more_updates_count_than_there_are(name: str) -> None:
    needed: dict[str, dict[str, Scalar]] = {
        "fltrust": {"root": "a"},
        "scaffold": {"population": 99},
    }
    parameters = {"client_weights": name, **needed.get(name, {})}

    weights = read_strategy(COMPOSED, parameters).client_weights

    assert all(1 <= weights.counting(n) <= n for n in range(7, 99) if not weights.refusal(n))


def test_what_the_spec_is_overridden_with_must_exist() -> None:
    with pytest.raises(SpecInvalid):
        TrainingParameters().overridden({"epoch": 3})

    assert "epoch" in (training_fault(run(training={"epoch": 3}), TrainingParameters()) or "")
