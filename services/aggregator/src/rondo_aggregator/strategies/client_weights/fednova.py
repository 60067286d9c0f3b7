"""Updates count by examples, whatever the number of steps that they took."""

import math

from rondo_aggregator.strategies.client_weights.examples import examples_mix
from rondo_aggregator.strategies.cohort import Cohort, Mix, mix_of
from rondo_core.strategy_parameters.client_weights import Examples, FedNova

__all__ = ["normalised"]


def normalised(cohort: Cohort, parameters: FedNova) -> Mix:
    """Divide each delta by its steps, and multiply the mean by the mean number of steps.

    With a_k the steps (||a_k||_1, which the client declares) and p_k its share of the examples,
    the step is tau_eff sum p_k D_k / a_k, tau_eff = sum p_k a_k. So a client that takes more steps
    pulls the model no further towards its own optimum: the fixed point is that of the mean loss.

    Raises:
        EmptyRound: nobody has an example.
        StrategyInvalid: a client did not declare its steps.

    Source: Wang et al., 2020, section 5, normalised averaging (FedNova, arXiv:2007.07481).

    >>> mix = normalised(Cohort("ab", [1, 1], steps=[1, 3]), FedNova())
    >>> [round(factor, 6) for factor in mix.factors], mix.weights, mix.divisor
    ([2.0, 0.666667], (1.0, 1.0), 2.0)
    """
    steps = cohort.declared_steps
    mix = examples_mix(cohort, Examples(parameters.examples_cap))
    pairs = zip(mix.weights, steps, strict=True)
    mean_steps = math.fsum(weight * number for weight, number in pairs) / mix.divisor
    return mix_of(mix.weights, [mean_steps / number for number in steps])
