"""Every client counts once."""

from rondo_aggregator.strategies.cohort import Cohort, Mix, mix_of
from rondo_core.strategy_parameters.client_weights import Equal

__all__ = ["equal_weights"]


def equal_weights(cohort: Cohort, parameters: Equal) -> Mix:  # noqa: ARG001 - as every weight rule
    """Weigh all clients the same: the plain mean of the sample.

    Raises:
        EmptyRound: there is no client.

    Source: Li et al., 2020, Algorithm 2 (FedProx, arXiv:1812.06127), whose server does this.

    >>> equal_weights(Cohort(["a", "b"], [30, 10]), Equal()).weights
    (1.0, 1.0)
    """
    return mix_of([1.0 for _ in cohort.clients])
