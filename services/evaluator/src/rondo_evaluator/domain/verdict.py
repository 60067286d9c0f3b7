"""Is this version good enough to take over from the champion?"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["Verdict", "judge"]

HIGHER_IS_BETTER = ("accuracy",)
LOWER_IS_BETTER = ("loss",)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether to promote, and why, in words that an operator reads."""

    promote: bool
    reason: str


def judge(candidate: Mapping[str, float], champion: Mapping[str, float] | None) -> Verdict:
    """Compare what both versions reached on the same holdout.

    The first of accuracy (higher is better) and loss (lower is better) that the candidate has
    decides. A candidate that is as good as the champion is promoted: it has seen newer data.

    Args:
        candidate: metric -> value of the version under test.
        champion: the same of the version that is served now; None when none is.

    >>> judge({"accuracy": 0.9, "loss": 0.3}, {"accuracy": 0.95, "loss": 0.1})
    Verdict(promote=False, reason='accuracy 0.9 is below the champion with 0.95')
    """
    name = next((name for name in (*HIGHER_IS_BETTER, *LOWER_IS_BETTER) if name in candidate), None)
    if name is None:
        wanted = ", ".join((*HIGHER_IS_BETTER, *LOWER_IS_BETTER))
        return Verdict(promote=False, reason=f"the evaluation gave none of {wanted}")
    value = candidate[name]
    if not math.isfinite(value):
        return Verdict(promote=False, reason=f"{name} is {value:g}, not a finite number")
    if champion is None:
        return Verdict(promote=True, reason=f"{name} {value:.6g}; there was no champion")
    best = champion.get(name)
    if best is None:
        return Verdict(promote=False, reason=f"the champion has no {name} to compare with")
    worse = value < best if name in HIGHER_IS_BETTER else value > best
    if worse:
        side = "below" if name in HIGHER_IS_BETTER else "above"
        return Verdict(
            promote=False, reason=f"{name} {value:.6g} is {side} the champion with {best:.6g}"
        )
    return Verdict(promote=True, reason=f"{name} {value:.6g}; the champion had {best:.6g}")
