"""The strategies do what their papers say, to 1e-6."""

import numpy as np
import pytest

from rondo_core.strategy_names import STRATEGIES
from tests.unit.rondo_aggregator.conformance_cases import CASES, Case
from tests.unit.rondo_aggregator.played_rounds import Played, columns, play


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_strategy_gives_the_model_of_its_papers_equation(case: Case) -> None:
    assert case.run() == pytest.approx(list(case.expected), abs=1e-6)


def test_every_strategy_has_a_case() -> None:
    assert {case.strategy for case in CASES} >= set(STRATEGIES)


@pytest.mark.parametrize("first", [0.1, 5.0])
def test_adaptive_clipping_comes_within_a_tenth_of_the_median_norm(first: float) -> None:
    rng = np.random.default_rng(20)
    norms = rng.lognormal(0.0, 0.5, 100)
    before: Played | None = None

    for _ in range(100):
        sizes = norms * rng.uniform(0.95, 1.05, 100)
        deltas = [columns(*(size * np.array([0.6, 0.8]))) for size in sizes]
        before = play("adaptive-clipped-mean", {"initial_clip_norm": first}, deltas, before=before)

    assert before is not None
    assert before.scalars["clip_norm"] == pytest.approx(np.median(norms), rel=0.1)
