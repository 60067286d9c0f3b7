"""The parameters of server optimizers."""

from dataclasses import dataclass

from rondo_core.strategy_parameters.bounds import Positive, Share

__all__ = [
    "Adagrad",
    "Adam",
    "Momentum",
    "Step",
    "Yogi",
]


@dataclass(frozen=True, slots=True)
class Step:
    """The combined delta is the step.

    Attributes:
        server_learning_rate: eta.
    """

    server_learning_rate: Positive = 1.0


@dataclass(frozen=True, slots=True)
class Momentum:
    """Steps add up.

    Attributes:
        server_learning_rate: eta.
        momentum: beta, the share of the last step's direction that is kept.
        nesterov: look ahead along the momentum, as Hsu et al. do.
    """

    server_learning_rate: Positive = 1.0
    momentum: Share = 0.9
    nesterov: bool = False


@dataclass(frozen=True, slots=True)
class Adagrad:
    """Columns that moved much move less.

    Attributes:
        server_learning_rate: eta.
        beta1: of the first moment.
        tau: adaptivity, added to the root; the second moment begins at its square.
    """

    server_learning_rate: Positive = 0.1
    beta1: Share = 0.0
    tau: Positive = 1e-3


@dataclass(frozen=True, slots=True)
class Adam:
    """Columns that moved much of late move less.

    Attributes:
        server_learning_rate: eta.
        beta1: of the first moment.
        beta2: of the second moment.
        tau: adaptivity, added to the root.
        bias_correction: False for the paper's form, whose second moment begins at tau squared;
            True for the form of the authors' code: it begins at 0 and both moments are corrected.
    """

    server_learning_rate: Positive = 0.1
    beta1: Share = 0.9
    beta2: Share = 0.99
    tau: Positive = 1e-3
    bias_correction: bool = False


@dataclass(frozen=True, slots=True)
class Yogi:
    """As Adam, but the second moment forgets no faster than it learns.

    Attributes:
        server_learning_rate: eta.
        beta1: of the first moment.
        beta2: of the second moment.
        tau: adaptivity, added to the root.
        bias_correction: as Adam's.
    """

    server_learning_rate: Positive = 0.1
    beta1: Share = 0.9
    beta2: Share = 0.99
    tau: Positive = 1e-3
    bias_correction: bool = False
