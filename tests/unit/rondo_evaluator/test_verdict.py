"""The gate between a new version and the champion."""

import math

import pytest

from rondo_evaluator.domain.verdict import judge


def test_a_first_version_is_promoted_whatever_it_reaches() -> None:
    verdict = judge({"accuracy": 0.1, "loss": 9.0}, None)

    assert verdict.promote
    assert verdict.reason == "accuracy 0.1; there was no champion"


@pytest.mark.parametrize("accuracy", [0.91, 0.9])
def test_a_version_that_is_better_or_as_good_is_promoted(accuracy: float) -> None:
    verdict = judge({"accuracy": accuracy, "loss": 0.3}, {"accuracy": 0.9, "loss": 0.1})

    assert verdict.promote


def test_a_worse_version_is_held_and_both_values_are_named() -> None:
    verdict = judge({"accuracy": 0.85, "loss": 0.1}, {"accuracy": 0.9, "loss": 0.3})

    assert not verdict.promote
    assert verdict.reason == "accuracy 0.85 is below the champion with 0.9"


def test_without_accuracy_the_smaller_loss_wins() -> None:
    better = judge({"loss": 0.2}, {"loss": 0.3})
    worse = judge({"loss": 0.4}, {"loss": 0.3})

    assert better.promote
    assert not worse.promote
    assert worse.reason == "loss 0.4 is above the champion with 0.3"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_metric_that_is_not_finite_is_never_promoted(value: float) -> None:
    verdict = judge({"accuracy": value, "loss": 0.0}, None)

    assert not verdict.promote
    assert "not a finite number" in verdict.reason


def test_an_evaluation_without_a_known_metric_is_held() -> None:
    verdict = judge({"f1": 0.9}, None)

    assert not verdict.promote
    assert verdict.reason == "the evaluation gave none of accuracy, loss"


def test_a_champion_that_cannot_be_compared_keeps_its_place() -> None:
    verdict = judge({"accuracy": 0.9}, {"loss": 0.1})

    assert not verdict.promote
    assert verdict.reason == "the champion has no accuracy to compare with"
