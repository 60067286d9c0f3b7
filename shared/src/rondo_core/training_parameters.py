"""How a client trains in one round: the model spec's defaults, with a run's overrides."""

from collections.abc import Mapping
from typing import Annotated, Literal, get_args

import msgspec
from msgspec import Meta, Struct

from rondo_core.errors import SpecInvalid
from rondo_core.events import Scalar
from rondo_core.spec_errors import spec_invalid

__all__ = ["Optimizer", "RunTraining", "TrainingParameters"]

Optimizer = Literal["adam", "sgd"]


class TrainingParameters(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Flat, so that a run's ``training`` can override single fields.

    Attributes:
        epochs: passes over the client's own examples in one round.
        momentum: of ``sgd``; ``adam`` keeps its own and ignores it.
    """

    epochs: Annotated[int, Meta(ge=1, le=1000)] = 1
    batch_size: Annotated[int, Meta(ge=1, le=65_536)] = 32
    optimizer: Optimizer = "sgd"
    learning_rate: Annotated[float, Meta(gt=0, le=10)] = 0.01
    momentum: Annotated[float, Meta(ge=0, lt=1)] = 0.0

    def overridden(self, overrides: Mapping[str, Scalar]) -> "RunTraining":
        """Return these parameters with a run's overrides, and what only a run has.

        Raises:
            SpecInvalid: no such parameter, or a value out of bounds; under ``$.training``.

        Example:
            >>> TrainingParameters().overridden({"epochs": 3}).epochs
            3
        """
        data = msgspec.json.encode({**msgspec.structs.asdict(self), **overrides})
        try:
            return msgspec.json.decode(data, type=RunTraining)
        except msgspec.ValidationError as exc:
            fault = spec_invalid(exc, data, {"optimizer": get_args(Optimizer)})
            raise SpecInvalid(fault.path.replace("$", "$.training", 1), fault.rule) from exc


class RunTraining(TrainingParameters, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a run's clients train with: the spec's parameters, and those of the run's algorithm.

    They are not the spec's, whose digest names the model and not how it is trained.

    Attributes:
        proximal_mu: FedProx's mu: the local loss has (mu/2) times the squared distance from the
            received weights in addition; 0 for none (Li et al., 2020, eq. 2, arXiv:1812.06127).
    """

    proximal_mu: Annotated[float, Meta(ge=0, le=1000)] = 0.0
