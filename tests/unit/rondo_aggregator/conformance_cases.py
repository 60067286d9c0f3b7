"""Each strategy against its paper, in numbers that were worked out by hand.

``docs/make_conformance.py`` prints the same cases, so that the table is what the tests check.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rondo_core.events import Scalar
from tests.unit.rondo_aggregator.played_rounds import Played, columns, play

__all__ = ["CASES", "Case"]


@dataclass(frozen=True)
class Case:
    """Rounds of a strategy from a base of zeros, and the model that the paper's equation gives.

    Attributes:
        name: of the case, unique.
        source: paper, and equation or algorithm.
        work: the hand calculation.
        rounds: deltas of each round: one list of values a client.
        expected: the model after the last round.
    """

    name: str
    source: str
    strategy: str
    rounds: Sequence[Sequence[Sequence[float]]]
    expected: Sequence[float]
    work: str
    parameters: Mapping[str, Scalar] = field(default_factory=dict)
    examples: Sequence[int] | None = None
    clients: Sequence[str] | None = None
    staleness: Sequence[int] = ()
    steps: Sequence[float] | None = None

    def as_document(self) -> dict[str, object]:
        """Return the case for programs that do not know this class."""
        return {
            "name": self.name,
            "strategy": self.strategy,
            "parameters": dict(self.parameters),
            "rounds": self.rounds,
            "examples": self.examples,
            "staleness": self.staleness,
            "steps": self.steps,
        }

    def run(self) -> list[float]:
        """Return our model after the last round."""
        before: Played | None = None
        for deltas in self.rounds:
            before = play(
                self.strategy,
                self.parameters,
                [columns(*values) for values in deltas],
                examples=self.examples,
                clients=self.clients,
                staleness=self.staleness,
                steps=self.steps,
                before=before,
            )
        return [] if before is None else before.weights.tolist()


def _adam(step: int, moment: float, second: float, beta2: float, tau: float) -> float:
    return 0.1 * math.sqrt(1 - beta2**step) / (1 - 0.9**step) * moment / (math.sqrt(second) + tau)


CASES = (
    Case(
        "FedAvg",
        "McMahan et al. 2017, Alg. 1",
        "fedavg",
        [[[4, 0], [0, 8]]],
        [3, 2],
        "(30·4 + 10·0)/40, (30·0 + 10·8)/40",
        examples=[30, 10],
    ),
    Case(
        "FedAvg, examples capped",
        "McMahan et al. 2017, Alg. 1, with a server-set cap",
        "fedavg",
        [[[4, 0], [0, 8]]],
        [2, 4],
        "10 examples each after the cap: (4 + 0)/2, (0 + 8)/2",
        {"examples_cap": 10},
        examples=[30, 10],
    ),
    Case(
        "Equal weights",
        "Li et al. 2020 (FedProx), Alg. 2",
        "equal-mean",
        [[[4, 0], [0, 8]]],
        [2, 4],
        "(4 + 0)/2, (0 + 8)/2",
        examples=[30, 10],
    ),
    Case(
        "FedNova",
        "Wang et al. 2020, §5",
        "fednova",
        [[[4, 0], [0, 8]]],
        [2.625, 3.5],
        "p = (3/4, 1/4), ‖a‖₁ = (4, 2), τ_eff = 3.5: 3.5·(3/4)·4/4, 3.5·(1/4)·8/2",
        examples=[30, 10],
        steps=[4, 2],
    ),
    Case(
        "SCAFFOLD, the model",
        "Karimireddy et al. 2020, Alg. 1",
        "scaffold",
        [[[4, 0], [0, 8]], [[2, 2], [4, -2]]],
        [5, 4],
        "plain means: (4 + 0)/2 + (2 + 4)/2, (0 + 8)/2 + (2 - 2)/2",
        {"population": 10},
        examples=[30, 10],
    ),
    Case(
        "SCAFFOLD, server learning rate",
        "Karimireddy et al. 2020, Alg. 1",
        "scaffold",
        [[[4, 0], [0, 8]]],
        [1, 2],
        "η_g = 1/2: half of (4 + 0)/2 and of (0 + 8)/2",
        {"population": 10, "server_learning_rate": 0.5},
    ),
    Case(
        "Norm clipping",
        "McMahan et al. 2018, Alg. 1 (FlatClip)",
        "clipped-mean",
        [[[3, 4], [0.3, 0.4]]],
        [0.45, 0.6],
        "‖(3,4)‖ = 5 is scaled to (0.6, 0.8), ‖(0.3,0.4)‖ = 0.5 stays; mean of both",
        {"clip_norm": 1.0},
    ),
    Case(
        "Adaptive clipping, first round",
        "Andrew et al. 2021, eq. 2 and Alg. 1",
        "adaptive-clipped-mean",
        [[[3, 4], [0.3, 0.4]]],
        [0.45, 0.6],
        "C = 1 in the first round: as norm clipping",
        {"initial_clip_norm": 1.0},
    ),
    Case(
        "Adaptive clipping, second round",
        "Andrew et al. 2021, eq. 2 and Alg. 1",
        "adaptive-clipped-mean",
        [[[3], [5], [0.5]], [[3], [5], [0.5]]],
        [
            2.5 / 3 + (0.5 + 2 * math.exp(-0.2 * (1 / 3 - 0.5))) / 3,
        ],
        "1 of 3 is unclipped (b = 1), so C = exp(−0.2 (1/3 − 0.5)) = 1.0339 grows",
        {"initial_clip_norm": 1.0},
    ),
    Case(
        "Krum",
        "Blanchard et al. 2017, §4",
        "krum",
        [[[0], [1], [2], [3], [90]]],
        [1],
        "n − f − 2 = 2 nearest: scores 5, 2, 2, 5, …; of 1 and 2 the first",
        {"attackers": 1},
    ),
    Case(
        "Multi-Krum",
        "Blanchard et al. 2017, §4 (multi-Krum)",
        "multi-krum",
        [[[0], [1], [2], [3], [90]]],
        [1.5],
        "the 2 best scores are 1 and 2: their PLAIN mean, examples do not count",
        {"attackers": 1, "selected": 2},
        examples=[1, 1, 9, 1, 1],
    ),
    Case(
        "Bulyan",
        "El Mhamdi et al. 2018, §4",
        "bulyan",
        [[[0], [1], [2], [3], [4], [5], [90]]],
        [2],
        "θ = 5 by repeated Krum: 0 to 4, never 90; median 2; the 3 nearest: 1, 2, 3",
        {"attackers": 1},
    ),
    Case(
        "Bulyan, selection by repeated Krum",
        "El Mhamdi et al. 2018, §4, step 1",
        "bulyan",
        [[[1], [5], [6], [8], [9], [11], [14], [15], [18], [20], [22]]],
        [34 / 3],
        "θ = 7: 5, 6, 8, 11, 15, 18 and one of 20, 22; median 11; 3 nearest: 8, 11, 15. One pass of"
        " multi-Krum would choose 5, 6, 8, 9, 11, 14, 15 and give 28/3",
        {"attackers": 2},
    ),
    Case(
        "FLTrust",
        "Cao et al. 2021, eq. 2-4",
        "fltrust",
        [[[2, 0], [-1, 0], [3, 3], [1, 0]]],
        [(1 + 0.5) / (1 + math.sqrt(0.5)), 0.5 / (1 + math.sqrt(0.5))],
        "cosines with the root (1,0): 1, −1 → 0, √½; deltas scaled to norm 1: (1,0), –, (√½,√½)",
        {"root": "root"},
        clients=["a", "b", "c", "root"],
    ),
    Case(
        "FLTrust, nobody agrees",
        "Cao et al. 2021, eq. 4",
        "fltrust",
        [[[-2, 0], [1, 0]]],
        [0, 0],
        "all trust scores are 0: the model stays",
        {"root": "root"},
        clients=["a", "root"],
    ),
    Case(
        "FedBuff",
        "Nguyen et al. 2022, Alg. 1 (lines 8, 11)",
        "fedbuff",
        [[[1], [4], [6]]],
        [(1 + 4 / math.sqrt(2) + 3) / 3],
        "staleness 0, 1, 3: s = 1, 1/√2, 1/2; the sum is divided by K = 3, not by the sum of s",
        staleness=[0, 1, 3],
    ),
    Case(
        "Coordinate median, odd",
        "Yin et al. 2018, def. 1",
        "median",
        [[[1, 9], [2, 8], [90, -7]]],
        [2, 8],
        "middle of 1, 2, 90 and of −7, 8, 9",
    ),
    Case(
        "Coordinate median, even",
        "Yin et al. 2018, def. 1",
        "median",
        [[[1], [2], [4], [90]]],
        [3],
        "(2 + 4)/2; examples do not count",
        examples=[1, 100, 1, 1],
    ),
    Case(
        "Trimmed mean",
        "Yin et al. 2018, def. 2",
        "trimmed-mean",
        [[[-50], [1], [2], [6], [90]]],
        [3],
        "⌊0.2 · 5⌋ = 1 is cut on each side: (1 + 2 + 6)/3",
        {"trim": 0.2},
    ),
    Case(
        "Geometric median",
        "Pillutla et al. 2022 (RFA), Alg. 2",
        "geometric-median",
        [[[0, 0], [4, 0], [1, 1], [1, 1], [1, 1]]],
        [1, 1],
        "a point with more than half of the weight is the geometric median",
    ),
    Case(
        "Geometric median, triangle",
        "Pillutla et al. 2022 (RFA), eq. 5",
        "geometric-median",
        [[[0, 0], [6, 0], [3, 3 * math.sqrt(3)]]],
        [3, math.sqrt(3)],
        "the Fermat point of an equilateral triangle is its centre",
    ),
    Case(
        "Geometric median, one step",
        "Pillutla et al. 2022 (RFA), Alg. 2",
        "geometric-median",
        [[[0], [1], [5]]],
        [(0 / 2 + 1 / 1 + 5 / 3) / (1 / 2 + 1 / 1 + 1 / 3)],
        "from the mean 2: distances 2, 1, 3; weights 1/2, 1, 1/3",
        {"iterations": 1},
    ),
    Case(
        "Centred clipping",
        "Karimireddy et al. 2021, §4 (CC)",
        "centred-clip",
        [[[1], [9]]],
        [2],
        "from v = 0 with τ = 3: (1 + 9·3/9)/2",
        {"radius": 3.0},
    ),
    Case(
        "Centred clipping, second round",
        "Karimireddy et al. 2021, §4 (CC)",
        "centred-clip",
        [[[1], [9]], [[2], [12]]],
        [2 + 3.5],
        "from the last aggregate v = 2: v + (0 + 10·3/10)/2 = 3.5",
        {"radius": 3.0},
    ),
    Case(
        "FedAvgM",
        "Reddi et al. 2021 (FedAvgM), Hsu et al. 2019",
        "fedavgm",
        [[[1]], [[1]]],
        [2.9],
        "v = 1, then 0.9 + 1 = 1.9",
    ),
    Case(
        "FedAvgM, Nesterov",
        "Hsu et al. 2019, §4.2",
        "fedavgm",
        [[[1]], [[1]]],
        [1.9 + 2.71],
        "1 + 0.9·1, then 1 + 0.9·1.9",
        {"nesterov": True},
    ),
    Case(
        "FedAdagrad",
        "Reddi et al. 2021, Alg. 2",
        "fedadagrad",
        [[[1]], [[1]]],
        [0.1 / (math.sqrt(1.01) + 0.1) + 0.1 / (math.sqrt(2.01) + 0.1)],
        "τ = 0.1: v = 0.01 + 1, then + 1; m = D",
        {"tau": 0.1},
    ),
    Case(
        "FedAdam",
        "Reddi et al. 2021, Alg. 2",
        "fedadam",
        [[[1]], [[1]]],
        [
            0.1 * 0.1 / (math.sqrt(0.99e-6 + 0.01) + 1e-3)
            + 0.1 * 0.19 / (math.sqrt(0.99 * (0.99e-6 + 0.01) + 0.01) + 1e-3)
        ],
        "no bias correction, v₋₁ = τ²: 0.0990 in the first step",
    ),
    Case(
        "FedAdam, bias-corrected",
        "Kingma and Ba 2015 §2, as the authors' Keras",
        "fedadam",
        [[[1]], [[1]]],
        [_adam(1, 0.1, 0.001, 0.999, 1e-3) + _adam(2, 0.19, 0.001999, 0.999, 1e-3)],
        "t from 1, v₀ = 0, ε outside the root: 0.1·√0.001/0.1 · 0.1/(√0.001 + ε), …",
        {"bias_correction": True, "beta2": 0.999},
    ),
    Case(
        "FedYogi",
        "Reddi et al. 2021, Alg. 2",
        "fedyogi",
        [[[1]], [[0.05]]],
        [
            0.1 * 0.1 / (math.sqrt(1e-6 + 0.01) + 1e-3)
            + 0.1 * (0.09 + 0.005) / (math.sqrt(1e-6 + 0.01 - 0.01 * 0.0025) + 1e-3)
        ],
        "v = τ² + 0.01·1; then D² = 0.0025 < v: v − 0.01·0.0025",
    ),
    Case(
        "FedYogi, bias-corrected",
        "Reddi et al. 2021, authors' code",
        "fedyogi",
        [[[1]]],
        [0.1 * math.sqrt(0.01) / 0.1 * 0.1 / (math.sqrt(0.01) + 1e-3)],
        "v = 0 + 0.01·1, t = 1",
        {"bias_correction": True},
    ),
    Case(
        "Composed: clipping, then the median",
        "McMahan et al. 2018, Alg. 1; Yin et al. 2018, def. 1",
        "composed",
        [[[3, 4], [0.3, 0.4], [-5, 0]]],
        [0.3, 0.4],
        "clipped to norm 1: (0.6, 0.8), (0.3, 0.4), (−1, 0); the middle values",
        {"client_weights": "clip", "column_rule": "median"},
    ),
    Case(
        "Composed: median, then Adam",
        "Yin et al. 2018, def. 1; Reddi et al. 2021, Alg. 2",
        "composed",
        [[[1], [-90], [90]]],
        [0.1 * 0.1 / (math.sqrt(0.99e-6 + 0.01) + 1e-3)],
        "the median 1, and FedAdam's first step with it",
        {"client_weights": "equal", "column_rule": "median", "server_optimizer": "adam"},
    ),
)
