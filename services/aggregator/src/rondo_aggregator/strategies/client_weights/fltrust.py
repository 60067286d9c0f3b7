"""FLTrust: clients count by how well they agree with an update that the operator trusts."""

import math

from rondo_aggregator.strategies.cohort import Cohort, Mix
from rondo_core.strategy_parameters.client_weights import FLTrust

__all__ = ["trusted"]


def trusted(cohort: Cohort, parameters: FLTrust) -> Mix:
    """Scale each delta to the root update's norm, and weigh it by its positive cosine with it.

    Nobody who agrees leaves the model as it is: every weight is 0, and the delta too. The root
    update itself is not averaged.

    Args:
        cohort: with the root client's update among its own: it was needed for the products.
        parameters: which client that is.

    Source: Cao et al., 2021, equations 2 to 4 (arXiv:2012.13995).

    >>> import numpy as np
    >>> deltas = np.array([[2.0, 0.0], [0.0, 5.0], [-1.0, 0.0], [1.0, 0.0]])
    >>> cohort = Cohort("abcr", [1] * 4, products=deltas @ deltas.T)
    >>> mix = trusted(cohort, FLTrust(root="r"))
    >>> mix.factors[0], mix.weights, mix.divisor
    (0.5, (1.0, 0.0, 0.0, 0.0), 1.0)
    """
    root, norms = cohort.clients.index(parameters.root), cohort.norms
    products = cohort.products_with(root)
    weights, factors = [], []
    for client, norm in enumerate(norms):
        counts = client != root and norm > 0 and norms[root] > 0
        cosine = products[client] / norm / norms[root] if counts else 0.0
        weights.append(max(float(cosine), 0.0))
        factors.append(norms[root] / norm if counts else 1.0)
    return Mix(tuple(factors), tuple(weights), math.fsum(weights) or 1.0)
