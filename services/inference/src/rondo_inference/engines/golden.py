"""Examples of which it is known what Keras answered."""

from dataclasses import dataclass

import numpy as np

from rondo_core.exports import ExportInvalid, Tolerance
from rondo_core.layout import Float32Array
from rondo_inference.domain.tensors import Tensors
from rondo_inference.engines.engine import Engine

__all__ = ["Golden"]


@dataclass(frozen=True, slots=True)
class Golden:
    """What every engine of a version is held against.

    Attributes:
        inputs: float32 (n, *input shape), n >= 1.
        outputs: float32 (n, outputs).
        tolerance: how far an output may be from the golden one.
    """

    inputs: Float32Array
    outputs: Float32Array
    tolerance: Tolerance

    @property
    def rows(self) -> int:
        """How many examples there are."""
        return len(self.inputs)

    def batch(self, rows: int) -> Tensors:
        """Return the inputs of a batch: the examples over and over."""
        return (np.resize(self.inputs, (rows, *self.inputs.shape[1:])),)

    def check(self, engine: Engine, rows: int, *, file: str) -> None:
        """Run a batch.

        Args:
            engine: has one input and one output.
            rows: of the batch.
            file: that the engine was opened from, for the error.

        Raises:
            ExportInvalid: the engine refuses, or computes something else than Keras.
        """
        (found,) = engine.run(self.batch(rows))
        wanted = np.resize(self.outputs, (rows, *self.outputs.shape[1:]))
        if found.shape != wanted.shape:
            raise ExportInvalid(f"{file}: outputs of shape {found.shape}, not {wanted.shape}")
        near = self.tolerance
        if not np.allclose(found, wanted, rtol=near.relative, atol=near.absolute):
            farthest = float(np.abs(found - wanted).max())
            raise ExportInvalid(
                f"{file}: an output is {farthest:.3g} away from the golden one, over {near}"
            )
