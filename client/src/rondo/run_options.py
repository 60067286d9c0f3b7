"""How a run shall be run, as an operator says it."""

from collections.abc import Mapping
from typing import TypedDict

from rondo_core.events import Scalar

__all__ = ["RunOptions"]


class RunOptions(TypedDict, total=False):
    """How to run; what is left out has `rondo_core.events.RunRequested`'s default.

    Attributes:
        spec: SHA-256 of one of the model's specs; the newest if left out.
        strategy: how updates are combined, for example ``fedavg``.
        parameters: of the strategy.
        training: overrides of the model spec's training parameters.
        encoding: how updates are written, for example ``int8`` or ``top-k:0.01``.
        rounds: at most this many.
        target: clients in a round; it is sealed as soon as so many updates are accepted, or as
            FedBuff's parameter ``buffer_size`` says.
        quorum: at the deadline a round is sealed with at least so many, else aborted.
        deadline_seconds: for one round.
        start_deadline_seconds: for enough clients to come.
        run_id: a name of your own; the same name twice is one run.
    """

    spec: str
    strategy: str
    parameters: Mapping[str, Scalar]
    training: Mapping[str, Scalar]
    encoding: str
    rounds: int
    target: int
    quorum: int
    deadline_seconds: float
    start_deadline_seconds: float
    run_id: str
