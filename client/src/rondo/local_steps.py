"""How much a client's local training counts, in plain steps: the number that FedNova divides by."""

import math

from rondo_core.client_wire import LARGEST_STEPS

__all__ = ["effective_steps"]


def effective_steps(steps: int, *, momentum: float = 0.0, pull: float = 0.0) -> float | None:
    """Return ||a_k||_1, where the local training moves by -(learning rate) sum a_k,i g_i.

    Plain SGD has a = (1, ..., 1), hence the number of steps. With momentum r (v = r v + g), the
    gradient of j steps before the last counts (1 - r^(j+1)) / (1 - r); with a proximal term
    (1 - learning rate mu)^j. Both together follow from one gradient's way through the steps.

    Args:
        steps: of the optimizer.
        momentum: of SGD.
        pull: learning rate times mu, in FedProx.

    Returns:
        At least 1 for at least one step; None where the training diverges whatever the data.

    Source: Wang et al., 2020, section 4, the vectors a of solvers (FedNova, arXiv:2007.07481).

    >>> effective_steps(4), effective_steps(2, momentum=0.5), effective_steps(2, pull=0.25)
    (4.0, 2.5, 1.75)
    """
    way, velocity = 0.0, 1.0
    counts = []
    for _ in range(steps):
        way += velocity
        counts.append(abs(way))
        velocity = momentum * velocity - pull * way
    total = math.fsum(counts) if all(map(math.isfinite, counts)) else math.inf
    return total if total <= LARGEST_STEPS else None
