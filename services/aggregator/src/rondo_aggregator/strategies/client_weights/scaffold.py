"""The plain mean, and what it teaches of the steps that all clients would take."""

from rondo_aggregator.strategies.cohort import Cohort, Mix
from rondo_core.errors import EmptyRound, StrategyInvalid
from rondo_core.strategy_parameters.client_weights import Scaffold

__all__ = ["controlled"]


def controlled(cohort: Cohort, parameters: Scaffold) -> Mix:
    """Average plainly, and move the control variate by the share of the clients that were there.

    A client's new variate (option II) is c_k' = c_k - c - D_k / (a_k lr), with a_k its steps. What
    it changes by follows from its delta, so the delta is all that it sends:
    c <- c + (1/N) sum (c_k' - c_k) = (1 - |S|/N) c - (1/N) sum D_k / (a_k lr). N is the number of
    ALL clients, not of those in the round. Variates are kept times the local learning rate, so
    that the server need not know it.

    Raises:
        EmptyRound: there is no client.
        StrategyInvalid: a client did not declare its steps, or there are more than N.

    Source: Karimireddy et al., 2020, Algorithm 1, option II (SCAFFOLD, arXiv:1910.06378).

    >>> mix = controlled(Cohort("ab", [9, 1], steps=[1, 5]), Scaffold(population=8))
    >>> mix.weights, mix.divisor, mix.control, mix.control_kept
    ((1.0, 1.0), 2.0, (-0.125, -0.025), 0.75)
    """
    clients, population = len(cohort.clients), parameters.population
    if not clients:
        raise EmptyRound("no client is there to average")
    if refusal := parameters.refusal(clients):
        raise StrategyInvalid(refusal)
    ones = tuple(1.0 for _ in cohort.clients)
    return Mix(
        factors=ones,
        weights=ones,
        divisor=float(clients),
        control=tuple(-1 / (population * steps) for steps in cohort.declared_steps),
        control_kept=1 - clients / population,
    )
