"""What a trainer's answers have to be, checked before anything of them is written or sent."""

import math
from collections.abc import Mapping

from rondo.trainer import EXAMPLES
from rondo_core.client_wire import LARGEST_STEPS
from rondo_core.errors import Invalid

__all__ = ["checked_examples", "checked_metrics", "checked_steps"]


def checked_metrics(metrics: Mapping[str, float]) -> dict[str, float]:
    """Leave out what is not finite: JSON has no NaN, and a mean with it would be NaN for all.

    Raises:
        Invalid: the trainer does not say on how many examples it measured.
    """
    if not metrics.get(EXAMPLES, 0) >= 1:
        raise Invalid(f"evaluate() gave {dict(metrics)}: {EXAMPLES!r} must be there, and >= 1")
    return {name: float(value) for name, value in metrics.items() if math.isfinite(value)}


def checked_examples(examples: int) -> int:
    """Return how many examples were trained on, as a plain number.

    Raises:
        Invalid: there are none.
    """
    if examples < 1:
        raise Invalid(f"train() gave {examples} examples: there must be at least 1")
    return int(examples)


def checked_steps(steps: float | None, *, needed: bool) -> float | None:
    """Return the steps as a plain number, whatever scalar they came as.

    Args:
        steps: what the training was worth; None where the trainer does not know.
        needed: whether the run's strategy goes by them.

    Raises:
        Invalid: they are needed and not there, or no number that a declaration takes.

    >>> checked_steps(3, needed=True)
    3.0
    """
    if steps is None:
        if needed:
            raise Invalid("train() must say how many steps it took: this run's strategy needs them")
        return None
    rule = f"train() gave {steps!r} steps: a number from 1 to {LARGEST_STEPS:g} is needed"
    try:
        number = float(steps)
    except (TypeError, ValueError) as exc:
        raise Invalid(rule) from exc
    if not 1 <= number <= LARGEST_STEPS:  # NaN is refused too
        raise Invalid(rule)
    return number
