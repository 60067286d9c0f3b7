"""NVFlare's aggregation on the cases of the conformance suite; runs in NVFlare's own environment.

Reads the cases as JSON from standard input, and prints case -> model after the last round for
those that NVFlare has something for: FedAvg and FedBuff.
"""

import json
import logging
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
from nvflare.apis.dxo import DXO, DataKind
from nvflare.apis.fl_context import FLContext
from nvflare.app_common.abstract.fl_model import FLModel
from nvflare.app_common.aggregators.weighted_aggregation_helper import WeightedAggregationHelper
from nvflare.app_common.workflows import base_fedavg
from nvflare.edge.aggregators.model_update_dxo import ModelUpdateDXOAggregator
from nvflare.edge.assessors.buff_model_manager import BuffModelManager, _ModelState

Case = Mapping[str, Any]
NEWEST = 10


def fedavg(case: Case) -> list[float]:
    """Average deltas by the weight that NVFlare gives clients that report no optimizer steps."""
    helper = WeightedAggregationHelper()
    for client, delta in enumerate(case["rounds"][0]):
        model = FLModel(params={"w": np.array(delta, np.float64)}, meta={"examples": 1})
        weight = base_fedavg._get_num_steps_weight(model)  # noqa: SLF001 - what its FedAvg calls
        helper.add(model.params, weight, f"client-{client}", 0)
    return [float(value) for value in helper.get_result()["w"]]


def fedbuff(case: Case) -> list[float]:
    """Let the buffered model manager make a version of updates of several ages."""
    deltas = case["rounds"][0]
    manager = BuffModelManager(len(deltas), staleness_weight=True)
    zeros = {"w": np.zeros(len(deltas[0]))}
    manager.initialize_model(DXO(DataKind.WEIGHTS, data=zeros), FLContext())
    manager.current_model_version = NEWEST - 1  # making the next version counts up to NEWEST
    for delta, age in zip(deltas, case["staleness"], strict=True):
        state = _ModelState(ModelUpdateDXOAggregator())
        state.aggregator.dict, state.aggregator.count = {"w": np.array(delta, np.float64)}, 1
        manager.updates[NEWEST - age] = state
    manager.generate_new_model(FLContext())
    return [float(value) for value in manager.current_model.data["w"]]


def main() -> None:
    """Run all cases."""
    logging.disable()
    found = {}
    for case in json.load(sys.stdin):
        if case["name"] == "FedAvg":
            found[case["name"]] = fedavg(case)
        elif case["strategy"] == "fedbuff":
            found[case["name"]] = fedbuff(case)
    sys.stdout.write(json.dumps(found) + "\n")


main()
