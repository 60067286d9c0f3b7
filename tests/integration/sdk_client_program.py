"""A data owner's program, to be killed: writes a line for each round that it trains in.

Arguments: gateway's address, invite, client's name, home, log.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import rondo
from rondo import NumpyTrainer, RoundTask, Trained
from tests.unit.rondo.linear import evaluate, line_data, step


class LoggingTrainer(NumpyTrainer):
    """Notes every round that is really trained."""

    def train(self, weights: Mapping[str, Any], task: RoundTask) -> Trained:
        with Path(sys.argv[5]).open("a") as log:
            log.write(f"{task.round}\n")
        return super().train(weights, task)


if __name__ == "__main__":
    url, invite, name, home, _ = sys.argv[1:]
    with rondo.connect(url, invite, name, home=home) as federation:
        result = federation.train(
            trainer=LoggingTrainer(*line_data(), step=step, evaluate=evaluate), progress=False
        )
    print(result.state, " ".join(entry.verdict for entry in result.rounds))  # noqa: T201
