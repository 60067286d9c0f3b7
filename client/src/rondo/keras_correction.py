"""Gradients with what FedProx and SCAFFOLD add to them, inside the optimizer's own step."""

import keras
import numpy as np

from rondo.trainer import Weights
from rondo_core.training_parameters import RunTraining

__all__ = ["corrected_optimizer", "set_correction"]


class _Corrected:
    """Adds ``mu (weights - anchor) + shift`` to each gradient; mixed into a Keras optimizer.

    The first is the gradient of FedProx's (mu/2) ||y - x||^2 (Li et al., 2020, eq. 2,
    arXiv:1812.06127), the second SCAFFOLD's c - c_k (Karimireddy et al., 2020, Algorithm 1,
    arXiv:1910.06378).
    """

    proximal_mu = 0.0

    def build(self, variables: list[keras.Variable]) -> None:
        """Make room for anchor and shift of each variable."""
        super().build(variables)  # type: ignore[misc]  # of the optimizer
        add = self.add_optimizer_variables  # type: ignore[attr-defined]
        self.anchors, self.shifts = add(variables, ["anchor", "shift"])

    def apply(
        self, grads: list[keras.KerasTensor], trainable_variables: list[keras.Variable]
    ) -> None:
        """Step along the corrected gradients."""
        parts = zip(grads, trainable_variables, self.anchors, self.shifts, strict=True)
        corrected = [
            gradient + self.proximal_mu * (weight - anchor) + shift
            for gradient, weight, anchor, shift in parts
        ]
        super().apply(corrected, trainable_variables)  # type: ignore[misc]


class CorrectedSGD(_Corrected, keras.optimizers.SGD):  # type: ignore[misc]  # no type hints
    """SGD along corrected gradients."""


class CorrectedAdam(_Corrected, keras.optimizers.Adam):  # type: ignore[misc]
    """Adam along corrected gradients."""


def corrected_optimizer(training: RunTraining) -> keras.optimizers.Optimizer:
    """Return the run's optimizer with corrected gradients."""
    rate = training.learning_rate
    optimizer = (
        CorrectedAdam(rate)
        if training.optimizer == "adam"
        else CorrectedSGD(rate, momentum=training.momentum)
    )
    optimizer.proximal_mu = training.proximal_mu
    return optimizer


def set_correction(model: keras.Model, drift: Weights | None) -> None:
    """Anchor a round at the model's weights, and set what each step drifts by.

    Args:
        model: built with `corrected_optimizer`, holding the round's base version.
        drift: learning rate times (c - c_k), by the names of the model's weights; None for zeros.
    """
    optimizer = model.optimizer
    rate = np.float32(optimizer.learning_rate)
    for variable, anchor, shift in zip(
        model.trainable_variables, optimizer.anchors, optimizer.shifts, strict=True
    ):
        anchor.assign(variable)
        shift.assign(np.zeros(shift.shape) if drift is None else drift[variable.path] / rate)
