"""The clipping norm follows a quantile of the clients' norms."""

import math

import numpy as np

from rondo_aggregator.strategies.client_weights.clip import clip_factors
from rondo_aggregator.strategies.cohort import Cohort, Mix, mix_of
from rondo_core.strategy_parameters.client_weights import AdaptiveClip

__all__ = ["CLIP_NORM", "adaptively_clipped"]

CLIP_NORM = "clip_norm"
"""The scalar that is kept between rounds."""
_SMALLEST, _LARGEST = float(np.finfo(np.float32).tiny), float(np.finfo(np.float32).max)
"""Bounds of the norm: a norm of zero would stay zero for ever."""


def adaptively_clipped(cohort: Cohort, parameters: AdaptiveClip) -> Mix:
    """Clip to the current norm C, then move C: b_k = 1 if ||D_k|| <= C, the UNCLIPPED ones.

    C <- C exp(-eta (mean of b - gamma)): with too many unclipped clients it falls. Clients count
    equally, and no noise is added: it is the paper's geometric update without privacy. C is kept
    as a float32, so that libraries whose ``exp`` differ in the last bit give the same bytes.

    Source: Andrew et al., 2021, equation 2 and Algorithm 1 (arXiv:1905.03871).

    >>> cohort = Cohort(["a", "b"], [1, 1], products=np.diag([4.0, 4.0]))
    >>> mix = adaptively_clipped(cohort, AdaptiveClip(initial_clip_norm=1.0))
    >>> mix.factors, round(mix.scalars["clip_norm"], 4)
    ((0.5, 0.5), 1.1052)
    """
    norm = cohort.scalars.get(CLIP_NORM, parameters.initial_clip_norm)
    unclipped = sum(length <= norm for length in cohort.norms) / max(len(cohort.clients), 1)
    exponent = -parameters.clip_learning_rate * (unclipped - parameters.clip_quantile)
    moved = float(np.float32(min(max(norm * math.exp(exponent), _SMALLEST), _LARGEST)))
    return mix_of([1.0 for _ in cohort.clients], clip_factors(cohort, norm), {CLIP_NORM: moved})
