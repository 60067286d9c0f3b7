"""FedProx, FedNova and SCAFFOLD do what their papers say, on clients that want different things.

Client k minimises (h/2)(w - m)^2: all can be worked out by hand, and nothing is random but cohorts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from rondo import Invalid, NumpyTrainer, RoundTask, Trained
from rondo.controls import Correction
from rondo.local_steps import effective_steps
from rondo_core.events import Scalar
from rondo_core.layout import Float32Array
from tests.unit.rondo_aggregator.played_rounds import Played, columns, play


@dataclass(frozen=True)
class Quadratic:
    """A client: its curvature h, its optimum m, and how many steps it takes in a round."""

    curvature: float
    optimum: float
    steps: int = 10

    def trainer(self, rate: float) -> NumpyTrainer:
        wants = np.array([[self.curvature, self.optimum]] * 2)
        parameters = {"epochs": self.steps, "learning_rate": rate}
        return NumpyTrainer(wants, wants, step=step, evaluate=evaluate, parameters=parameters)


def step(weights: Mapping[str, Any], x: Any, y: Any, parameters: Mapping[str, Any]) -> Any:
    del y
    ((curvature, optimum),) = x
    gradient = curvature * (weights["w"] - optimum)
    return {"w": weights["w"] - parameters["learning_rate"] * gradient}


def evaluate(weights: Mapping[str, Any], x: Any, y: Any) -> dict[str, float]:
    del y
    return {"loss": float(x[0, 0] / 2 * (weights["w"][0] - x[0, 1]) ** 2)}


def trained(
    client: Quadratic, start: Float32Array, rate: float, drift: float = 0.0, **training: Any
) -> Trained:
    step_drift = {"w": columns(drift)} if drift else None
    task = RoundTask(run_id="r", round=1, rounds=1, seed=1, training=training, drift=step_drift)
    return client.trainer(rate).train({"w": start}, task)


def delta_of(client: Quadratic, start: float, rate: float, **training: Any) -> float:
    found = trained(client, columns(start), rate, **training).weights["w"]
    return float(found[0] - np.float32(start))


def federated(
    strategy: str,
    clients: Sequence[Quadratic],
    *,
    rounds: int,
    rate: float,
    cohort: int | None = None,
    parameters: Mapping[str, Scalar] | None = None,
) -> tuple[list[float], Float32Array, list[Float32Array]]:
    """Play rounds; return the model after each, the server's variate and the clients'."""
    rng = np.random.default_rng(5)
    own = [columns(0) for _ in clients]
    server, before = columns(0), Played(columns(0), None)  # type: ignore[arg-type]  # no mix yet
    models = []
    for _ in range(rounds):
        chosen = sorted(rng.permutation(len(clients))[: cohort or len(clients)])
        deltas, steps = [], []
        for k in chosen:
            correction = Correction(own[k], server)
            drift = float(correction.drift[0]) if strategy == "scaffold" else 0.0
            found = trained(clients[k], before.weights, rate, drift)
            deltas.append(found.weights["w"] - before.weights)
            steps.append(found.steps)
            assert found.steps is not None
            own[k] = correction.after(deltas[-1], found.steps)
        goes_on = before if before.step else None
        before = play(strategy, parameters or {}, deltas, steps=steps, before=goes_on)
        server = before.slots.get("control", server)
        models.append(float(before.weights[0]))
    return models, server, own


# --- FedNova: Wang et al. 2020, arXiv:2007.07481 --------------------------------------------------


def test_fednova_finds_the_mean_of_the_optima_where_fedavg_follows_who_takes_more_steps() -> None:
    clients = [Quadratic(1, 0, steps=1), Quadratic(1, 1, steps=20)]

    averaged, _, _ = federated("fedavg", clients, rounds=400, rate=0.005)
    normalised, _, _ = federated("fednova", clients, rounds=400, rate=0.005)

    # FedAvg minimises the losses weighted by steps, (1 x 0 + 20 x 1)/21 for small rates.
    assert averaged[-1] == pytest.approx(20 / 21, abs=0.02)
    assert normalised[-1] == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("steps", [1, 2, 7, 300])
def test_steps_with_momentum_are_those_of_the_papers_formula(steps: int, momentum: float) -> None:
    tau, r = steps, momentum

    expected = (tau - r * (1 - r**tau) / (1 - r)) / (1 - r)

    assert effective_steps(steps, momentum=momentum) == pytest.approx(expected, abs=1e-6)


def test_steps_with_a_proximal_term_are_those_of_the_papers_formula() -> None:
    alpha, tau = 0.1 * 0.5, 12

    assert effective_steps(tau, pull=alpha) == pytest.approx((1 - (1 - alpha) ** tau) / alpha)


def test_momentum_and_a_proximal_term_together_are_the_sum_of_what_each_gradient_moves() -> None:
    way, velocity = 0.0, 0.0
    for _ in range(5):
        velocity = 0.5 * velocity + 1 - 0.1 * way
        way += velocity

    assert effective_steps(5, momentum=0.5, pull=0.1) == pytest.approx(way, abs=1e-9)


def test_a_pull_that_lets_training_diverge_has_no_steps() -> None:
    assert effective_steps(1000, pull=10.0) is None
    assert effective_steps(10**5, pull=1000.0) is None


# --- FedProx: Li et al. 2020, arXiv:1812.06127 ----------------------------------------------------


def test_two_proximal_steps_by_hand() -> None:
    # y1 = 0.1; y2 = y1 + 0.1 (1 - y1) - 0.1 x 2 x (y1 - 0) = 0.17.
    client = Quadratic(1, 1, steps=2)

    assert delta_of(client, 0.0, 0.1, proximal_mu=2) == pytest.approx(0.17, abs=1e-6)
    assert trained(client, columns(0), 0.1, proximal_mu=2).steps == pytest.approx(1.8)


def test_a_larger_mu_keeps_the_update_closer_and_none_is_fedavg_bit_for_bit() -> None:
    client = Quadratic(1, 1, steps=50)

    far = [abs(delta_of(client, 0.0, 0.1, proximal_mu=mu)) for mu in (0.0, 0.1, 1.0, 4.0)]

    assert far == sorted(far, reverse=True)
    assert far[-1] == pytest.approx(1 / (1 + 4), abs=1e-6)  # the minimum of both terms
    plain = trained(client, columns(0.3), 0.1).weights["w"].tobytes()
    assert trained(client, columns(0.3), 0.1, proximal_mu=0.0).weights["w"].tobytes() == plain


def test_a_step_that_changes_its_weights_in_place_is_pulled_all_the_same() -> None:
    def in_place(weights: Any, x: Any, y: Any, parameters: Any) -> Any:
        weights["w"][:] = step(weights, x, y, parameters)["w"]
        return weights

    wants = np.ones((2, 2))
    trainer = NumpyTrainer(wants, wants, step=in_place, evaluate=evaluate)
    training = {"epochs": 2, "learning_rate": 0.1, "proximal_mu": 2.0}
    task = RoundTask(run_id="r", round=1, rounds=1, seed=1, training=training)

    assert trainer.train({"w": columns(0)}, task).weights["w"][0] == pytest.approx(0.17, abs=1e-6)


@pytest.mark.parametrize(
    ("training", "rule"),
    [
        ({"proximal_mu": -1.0}, "proximal_mu is -1.0"),
        ({"proximal_mu": "much"}, "proximal_mu is 'much'"),
        ({"proximal_mu": 1.0, "learning_rate": 0}, "learning_rate is 0"),
        ({"proximal_mu": 1.0, "learning_rate": "slow"}, "learning_rate is 'slow'"),
    ],
)
def test_a_pull_that_is_not_known_is_refused(training: dict[str, Any], rule: str) -> None:
    with pytest.raises(Invalid, match=rule):
        trained(Quadratic(1, 1), columns(0), 0.1, **training)


# --- SCAFFOLD: Karimireddy et al. 2020, arXiv:1910.06378 ------------------------------------------

UNEQUAL = [Quadratic(1, 0), Quadratic(4, 1), Quadratic(2, -1, steps=3), Quadratic(0.5, 3)]
BEST = (1 * 0 + 4 * 1 + 2 * -1 + 0.5 * 3) / (1 + 4 + 2 + 0.5)


def test_scaffold_reaches_the_optimum_from_which_fedavg_drifts_away() -> None:
    averaged, _, _ = federated("equal-mean", UNEQUAL, rounds=200, rate=0.1)
    controlled, _, _ = federated(
        "scaffold", UNEQUAL, rounds=200, rate=0.1, parameters={"population": 4}
    )

    assert abs(averaged[-1] - BEST) > 0.1
    assert controlled[-1] == pytest.approx(BEST, abs=1e-4)


def test_scaffold_reaches_it_also_with_half_of_the_clients_in_a_round() -> None:
    averaged, _, _ = federated("equal-mean", UNEQUAL, rounds=400, rate=0.1, cohort=2)
    controlled, server, own = federated(
        "scaffold", UNEQUAL, rounds=400, rate=0.1, cohort=2, parameters={"population": 4}
    )

    assert np.std(averaged[-50:]) > 0.1
    np.testing.assert_allclose(controlled[-50:], BEST, atol=1e-3)
    # The variates are the clients' gradients at the optimum times the rate, and c their mean.
    slopes = [0.1 * one.curvature * (BEST - one.optimum) for one in UNEQUAL]
    np.testing.assert_allclose(np.ravel(own), slopes, atol=1e-3)
    assert server[0] == pytest.approx(np.mean(own), abs=1e-6)


def test_two_steps_with_a_drift_by_hand() -> None:
    # y1 = 0 + 0.1 - 0.2 = -0.1; y2 = -0.1 + 0.1 x 1.1 - 0.2 = -0.19.
    found = trained(Quadratic(1, 1, steps=2), columns(0), 0.1, drift=0.2)

    assert found.weights["w"][0] == pytest.approx(-0.19, abs=1e-6)
