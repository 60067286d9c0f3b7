"""What a data owner's own code has to be: two methods, arrays in and arrays out."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from rondo_core.errors import Invalid
from rondo_core.events import Scalar
from rondo_core.model_spec import ModelSpec

__all__ = ["EXAMPLES", "RoundTask", "Trained", "Trainer", "TrainerFactory", "Weights", "split"]

Weights = Mapping[str, NDArray[np.float32]]
"""Tensor name (``layer/variable``) -> float32 array, in the model's order."""

EXAMPLES = "examples"
"""The metric that says on how many examples the others were measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundTask:
    """What one client is asked to do in one round.

    Attributes:
        run_id: the run.
        round: counted from 1.
        rounds: how many the run will have.
        seed: for shuffling and dropout; differs by client and round, and is the same after a
            restart.
        training: the run's training parameters (``epochs``, ``batch_size``, ``learning_rate``, …)
            as far as they differ from the model spec's.
        drift: in a SCAFFOLD run, what is to be subtracted from the weights with every step: the
            learning rate times (c - c_k) of Karimireddy et al., 2020, Algorithm 1. None in
            other runs.
    """

    run_id: str
    round: int
    rounds: int
    seed: int
    training: Mapping[str, Scalar] = field(default_factory=dict)
    drift: Weights | None = None


class Trained(NamedTuple):
    """What `Trainer.train` gives back; a plain pair of the first two will do.

    Attributes:
        weights: the new weights, same names and shapes.
        examples: trained on, at least 1; this client counts by them.
        steps: how many plain steps the training was worth, as FedNova and SCAFFOLD need it; see
            `rondo.local_steps.effective_steps`. None where that cannot be said.
    """

    weights: Weights
    examples: int
    steps: float | None = None


@runtime_checkable
class Trainer(Protocol):
    """Trains on data that it holds; knows nothing of HTTP, files or other clients."""

    def evaluate(self, weights: Weights) -> Mapping[str, float]:
        """Measure ``weights`` on examples that are never trained on.

        Args:
            weights: the version that this round starts from; read-only.

        Returns:
            Metric -> value, and ``examples`` -> how many examples they were measured on.
        """
        ...

    def train(self, weights: Weights, task: RoundTask) -> Trained | tuple[Weights, int]:
        """Train from ``weights`` on the client's own examples.

        Args:
            weights: where to start; read-only, so copy what is to be changed.
            task: the round.

        Returns:
            The new weights, same names and shapes, and the number of examples trained on (>= 1),
            by which this client counts; with a third, the steps, where a run needs them.
        """
        ...


TrainerFactory = Callable[[ModelSpec], Trainer]
"""Makes the trainer when the model spec is known."""


def split(
    examples: int, *, holdout: float, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the positions to train on and those to keep for measuring, each at least one.

    The same arguments always give the same split, so nothing measured was ever trained on, also
    after a restart.

    Raises:
        Invalid: fewer than 2 examples, or ``holdout`` is not between 0 and 1.

    >>> [len(part) for part in split(10, holdout=0.2, seed=0)]
    [8, 2]
    """
    if not 0 < holdout < 1:
        raise Invalid(f"holdout {holdout} is not between 0 and 1")
    if examples < 2:  # noqa: PLR2004  (one to train on, one to measure)
        raise Invalid(f"{examples} examples are not enough: at least 2 are needed")
    kept = min(max(1, round(examples * holdout)), examples - 1)
    order = np.random.default_rng(seed).permutation(examples)
    return np.sort(order[kept:]), np.sort(order[:kept])
