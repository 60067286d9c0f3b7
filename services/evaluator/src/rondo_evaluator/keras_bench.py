"""The bench with Keras on TensorFlow; importing this module loads both."""

import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rondo_core import keras
from rondo_core.input_arrays import check_inputs
from rondo_core.keras.export import export
from rondo_core.layout import Float32Array
from rondo_core.model_spec import ModelSpec
from rondo_evaluator.handlers.ports import Exported

__all__ = ["KerasBench"]


class KerasBench:
    """Builds each model anew: a version is judged once.

    Args:
        scratch: folder for the files of an export, which are gone when `export` returns.
    """

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch

    def evaluate(
        self, spec: ModelSpec, flat: Float32Array, x: NDArray[np.generic], y: NDArray[np.generic]
    ) -> dict[str, float]:
        """See `ModelBench`."""
        inputs = check_inputs(spec, x)
        model = keras.build(spec)
        keras.set_flat(model, flat)
        return keras.evaluate(model, inputs, y)

    def export(self, spec: ModelSpec, flat: Float32Array) -> Exported:
        """See `ModelBench`."""
        with tempfile.TemporaryDirectory(dir=self._scratch) as folder:
            report = export(spec, flat, Path(folder))
            files = {name: (Path(folder) / name).read_bytes() for name in report.files}
        return Exported(
            files=files, input=report.input, output=report.output, tolerance=report.tolerance
        )
