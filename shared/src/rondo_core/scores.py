"""How good predictions are: the loss and the metrics of a set of examples, from plain arrays.

Sums run in float64 over all examples at once, so the result does not depend on the batch size.
"""

import numpy as np
from numpy.typing import NDArray

from rondo_core.errors import Invalid
from rondo_core.layout import Float32Array
from rondo_core.output_schema import Loss

__all__ = ["area_under_curve", "confusion_matrix", "scores"]

Targets = NDArray[np.generic]
_Float64Array = NDArray[np.float64]
_SMALLEST_PROBABILITY = 1e-7  # as Keras: a probability of 0 costs 16, not infinity


def scores(loss: Loss, outputs: Float32Array, targets: Targets) -> dict[str, float]:
    """Return ``loss``, ``examples`` and every metric that fits the loss.

    Args:
        loss: which outputs these are.
        outputs: (n, classes) probabilities, (n, 1) probabilities of the second label, or (n, 1)
            numbers; n >= 1.
        targets: (n,) class indices or numbers.

    Returns:
        For classes ``accuracy``; for two labels on one unit also ``auc``, unless all examples have
        the same label; for numbers ``mean_absolute_error``.

    Raises:
        Invalid: no example, other shapes, a class that is not there, or outputs not finite.

    Example:
        >>> scores("mean_squared_error", np.array([[1], [4]], np.float32), np.array([1, 2]))
        {'examples': 2.0, 'loss': 2.0, 'mean_absolute_error': 1.0}
    """
    _check(outputs, targets)
    values = outputs.astype(np.float64)
    found = {"examples": float(len(targets))}
    if loss == "mean_squared_error":
        errors = values[:, 0] - targets.astype(np.float64)
        return found | {
            "loss": float(np.mean(errors**2)),
            "mean_absolute_error": float(np.mean(np.abs(errors))),
        }
    if loss == "binary_crossentropy":
        classes = _classes(targets, 2)
        second = values[:, 0]
        values = np.stack([1.0 - second, second], axis=1)
        if 0 < classes.sum() < len(classes):
            found["auc"] = area_under_curve(second, classes)
    classes = _classes(targets, values.shape[1])
    chosen = values[np.arange(len(classes)), classes] / values.sum(axis=1)
    return found | {
        "loss": float(-np.log(np.clip(chosen, _SMALLEST_PROBABILITY, 1.0)).mean()),
        "accuracy": float(np.mean(values.argmax(axis=1) == classes)),
    }


def area_under_curve(likelihood: _Float64Array, classes: NDArray[np.int64]) -> float:
    """Return how often an example of class 1 is ranked above one of class 0; a tie counts half.

    Args:
        likelihood: (n,), higher means class 1.
        classes: (n,) of 0 and 1, both present.

    Source: Mann and Whitney, 1947; equal to the area under the ROC curve (Hanley, McNeil, 1982).

    Example:
        >>> area_under_curve(np.array([0.1, 0.4, 0.4, 0.8]), np.array([0, 0, 1, 1]))
        0.875
    """
    _, group, counts = np.unique(likelihood, return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2  # the mean rank of equal values, from 1
    positives = int(classes.sum())
    above = ranks[group][classes == 1].sum() - positives * (positives + 1) / 2
    return float(above / (positives * (len(classes) - positives)))


def confusion_matrix(outputs: Float32Array, targets: Targets) -> NDArray[np.int64]:
    """Count examples by true class (row) and predicted class (column).

    Args:
        outputs: (n, classes) probabilities; (n, 1) is the second of two labels.
        targets: (n,) class indices.

    Returns:
        (classes, classes); its sum is n.

    Raises:
        Invalid: as `scores`.
    """
    _check(outputs, targets)
    single = outputs.shape[1] == 1
    predicted = (outputs[:, 0] > 1.0 / 2) if single else outputs.argmax(axis=1)
    size = 2 if single else outputs.shape[1]
    places = _classes(targets, size) * size + predicted
    return np.bincount(places, minlength=size * size).reshape(size, size)


def _check(outputs: Float32Array, targets: Targets) -> None:
    if outputs.ndim != 2 or targets.shape != (len(outputs),) or not len(outputs):  # noqa: PLR2004
        raise Invalid(f"outputs {outputs.shape} and targets {targets.shape} are not n >= 1 rows")
    if not np.isfinite(outputs).all():
        raise Invalid("the model gave an output that is not finite")


def _classes(targets: Targets, size: int) -> NDArray[np.int64]:
    classes = targets.astype(np.int64)
    if (classes != targets).any() or classes.min() < 0 or classes.max() >= size:
        raise Invalid(
            f"targets from {targets.min()} to {targets.max()} are not classes 0..{size - 1}"
        )
    return classes
