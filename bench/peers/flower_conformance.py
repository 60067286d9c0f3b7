"""Flower's strategies on the cases of the conformance suite; runs in Flower's own environment.

Reads the cases as JSON from standard input, and prints case -> model after the last round for
those that Flower has a strategy for.
"""

import json
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict
from flwr.serverapp import strategy as flower
from flwr.supercore.task_identity import TaskIdentity

Case = Mapping[str, Any]


def renaming(
    kind: type[Any], fixed: Mapping[str, float] | None = None, **renamed: str
) -> Callable[[Mapping[str, Any]], Any]:
    """Return what makes a strategy with our parameters under its names; KeyError without a name."""

    def make(parameters: Mapping[str, Any]) -> Any:  # noqa: ANN401 - any of Flower's
        ours = {renamed[name]: value for name, value in parameters.items()}
        return kind(**{**(fixed or {}), **ours})

    return make


OURS = {"eta": 0.1, "beta_1": 0.9, "beta_2": 0.99, "tau": 1e-3}
"""Our defaults under Flower's names, which has others."""


MAKERS: Mapping[str, Callable[[Mapping[str, Any]], Any]] = {
    "bulyan": renaming(flower.Bulyan, attackers="num_malicious_nodes"),
    "fedadagrad": renaming(flower.FedAdagrad, {"eta": 0.1}, tau="tau"),
    "fedadam": renaming(flower.FedAdam, OURS, beta2="beta_2"),
    "fedavg": renaming(flower.FedAvg),
    "fedavgm": renaming(flower.FedAvgM, {"server_momentum": 0.9}),
    "fedyogi": renaming(flower.FedYogi, OURS),
    "krum": renaming(flower.Krum, attackers="num_malicious_nodes"),
    "median": renaming(flower.FedMedian),
    "multi-krum": renaming(
        flower.MultiKrum, attackers="num_malicious_nodes", selected="num_nodes_to_select"
    ),
    "trimmed-mean": renaming(flower.FedTrimmedAvg, trim="beta"),
}
CORRECTED = "bias_correction"
"""Flower has one form of each optimizer, which is held against both of ours."""


def strategy_of(case: Case) -> Any:  # noqa: ANN401 - any of Flower's
    """Return Flower's strategy of a case, or None where it has none or not this option."""
    parameters = dict(case["parameters"])
    parameters.pop(CORRECTED, None)
    if case["strategy"] == "adaptive-clipped-mean":
        return flower.DifferentialPrivacyServerSideAdaptiveClipping(
            flower.FedAvg(),
            noise_multiplier=0.0,
            num_sampled_clients=len(case["rounds"][0]),
            initial_clipping_norm=parameters["initial_clip_norm"],
            clipped_count_stddev=0.0,
        )
    if case["strategy"] == "clipped-mean":
        return flower.DifferentialPrivacyServerSideFixedClipping(
            flower.FedAvg(),
            noise_multiplier=0.0,
            clipping_norm=parameters["clip_norm"],
            num_sampled_clients=len(case["rounds"][0]),
        )
    try:
        return MAKERS[case["strategy"]](parameters)
    except KeyError:
        return None


def run(case: Case) -> list[float] | None:
    """Play a case from a model of zeros; clients send whole models, as Flower's do."""
    strategy = strategy_of(case)
    if strategy is None:
        return None
    model = np.zeros(len(case["rounds"][0][0]))
    for number, deltas in enumerate(case["rounds"], 1):
        _set_current(strategy, model)
        examples = case["examples"] or [1] * len(deltas)
        arrays, _ = strategy.aggregate_train(number, _replies(model, deltas, examples))
        model = next(iter(arrays.values())).numpy()
    return [float(value) for value in model]


def _set_current(strategy: Any, model: "np.ndarray[Any, Any]") -> None:  # noqa: ANN401 - as above
    """Do what ``configure_train`` does beside choosing clients."""
    if not hasattr(strategy, "current_arrays"):
        return
    named = {"w": model.copy()}
    optimizes = isinstance(strategy, flower.FedAdagrad | flower.FedAdam | flower.FedYogi)
    strategy.current_arrays = (
        named if optimizes else ArrayRecord({name: Array(one) for name, one in named.items()})
    )


def _replies(
    model: "np.ndarray[Any, Any]", deltas: Sequence[Sequence[float]], examples: Sequence[int]
) -> list[Message]:
    replies = []
    for client, (delta, number) in enumerate(zip(deltas, examples, strict=True)):
        arrays = ArrayRecord({"w": Array(model + np.array(delta, np.float64))})
        content = RecordDict({"arrays": arrays, "metrics": MetricRecord({"num-examples": number})})
        asked = Message(RecordDict(), dst_node_id=client + 1, message_type="train")
        replies.append(Message(content, reply_to=asked))
    return replies


def main() -> None:
    """Run all cases."""
    logging.disable()
    TaskIdentity.run_id = TaskIdentity.node_id = TaskIdentity.task_id = 1
    found = {}
    for case in json.load(sys.stdin):
        result = run(case)
        if result is not None:
            found[case["name"]] = result
    sys.stdout.write(json.dumps(found) + "\n")


main()
