"""A client counts as much as the examples that it trained on."""

from rondo_aggregator.strategies.cohort import Cohort, Mix, mix_of
from rondo_core.errors import EmptyRound
from rondo_core.strategy_parameters.client_weights import Examples

__all__ = ["examples_mix"]


def examples_mix(cohort: Cohort, parameters: Examples) -> Mix:
    """Weigh each client by its number of examples, up to the cap.

    The rule divides by the sum of the weights that arrived, never by those of all clients.

    Raises:
        EmptyRound: no client, a negative number, or nothing but zeros.

    Source: McMahan et al., 2017, Algorithm 1 (arXiv:1602.05629).

    >>> examples_mix(Cohort(["a", "b"], [30, 10]), Examples(examples_cap=20)).weights
    (20.0, 10.0)
    """
    if min(cohort.examples, default=0) < 0:
        raise EmptyRound(
            f"{min(cohort.examples)} examples: a client cannot count less than nothing"
        )
    if not sum(cohort.examples):
        raise EmptyRound(f"no example behind {len(cohort.examples)} updates")
    return mix_of([min(number, parameters.examples_cap) for number in cohort.examples])
