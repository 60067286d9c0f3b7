"""A client counts as much as the examples that it trained on."""

from collections.abc import Sequence

import numpy as np

from rondo_aggregator.strategies.arrays import Float64Array
from rondo_core.errors import EmptyRound

__all__ = ["examples_weights"]


def examples_weights(examples: Sequence[int]) -> Float64Array:
    """Return each client's number of examples as its weight, not normalised.

    Args:
        examples: n_k of each client in the manifest's order.

    Returns:
        float64 (clients,), owned by the caller. The rule divides by the sum of the weights that
        arrived, never by those of all clients.

    Raises:
        EmptyRound: no client, a negative number, or nothing but zeros.

    Source: McMahan et al., 2017, Algorithm 1 (arXiv:1602.05629).

    >>> examples_weights([30, 10])
    array([30., 10.])
    """
    if min(examples, default=0) < 0:
        raise EmptyRound(f"{min(examples)} examples: a client cannot count less than nothing")
    if not sum(examples):
        raise EmptyRound(f"no example behind {len(examples)} updates")
    return np.array(examples, np.float64)
