"""What the clients measured on the base version, as one set of numbers."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping

__all__ = ["EXAMPLES", "combine_metrics"]

EXAMPLES = "examples"
"""The name under which a client says how many held-out examples its numbers rest on."""


def combine_metrics(measured: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Average each metric over the clients that have it, weighted by their held-out examples.

    A client without a positive, finite number of examples says nothing that could be weighed and is
    left out, as is a value that is not finite: metrics are for people and never stop a round.

    Args:
        measured: one mapping a client: ``examples`` (held-out, not training), and other names.

    Returns:
        The means by name, and the sum of the examples; empty when no client measured.

    >>> combine_metrics([{"examples": 3, "accuracy": 1.0}, {"examples": 1, "accuracy": 0.0}])
    {'examples': 4.0, 'accuracy': 0.75}
    """
    terms: dict[str, list[tuple[float, float]]] = defaultdict(list)
    total: list[float] = []
    for metrics in measured:
        weight = metrics.get(EXAMPLES, 0)
        if not (math.isfinite(weight) and weight > 0):
            continue
        total.append(weight)
        for name, value in metrics.items():
            if name != EXAMPLES and math.isfinite(value):
                terms[name].append((weight, value))
    means = {
        name: math.fsum(weight * value for weight, value in pairs)
        / math.fsum(weight for weight, _ in pairs)
        for name, pairs in sorted(terms.items())
    }
    return {EXAMPLES: math.fsum(total), **means} if total else {}
