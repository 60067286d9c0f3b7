"""A ``ModelBench`` without TensorFlow: softmax regression in NumPy, enough for one Dense layer."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rondo_core.errors import Invalid
from rondo_core.exports import GOLDEN_FILE, ONNX_FILE, Tolerance
from rondo_core.holdout import encode_holdout
from rondo_core.layout import Float32Array
from rondo_core.model_spec import ModelSpec
from rondo_evaluator.handlers.ports import Exported


class NumpyBench:
    """Counts its calls; ``refusal`` makes the next export fail as a disagreement would."""

    def __init__(self) -> None:
        self.evaluations = 0
        self.exports = 0
        self.refusal: str | None = None

    def evaluate(
        self, spec: ModelSpec, flat: Float32Array, x: NDArray[np.generic], y: NDArray[np.generic]
    ) -> dict[str, float]:
        self.evaluations += 1
        if x.shape[1:] != spec.input.shape:
            raise Invalid(f"inputs of shape {x.shape[1:]}, the spec wants {spec.input.shape}")
        guesses = _scores(spec, flat, x.astype(np.float64)).argmax(axis=1)
        return {"accuracy": float((guesses == y).mean()), "loss": 0.5}

    def export(self, spec: ModelSpec, flat: Float32Array) -> Exported:
        self.exports += 1
        if self.refusal is not None:
            raise Invalid(self.refusal)
        golden = np.eye(*spec.input.shape, dtype=np.float32)[:1]
        outputs = _scores(spec, flat, golden).astype(np.float32)
        return Exported(
            files={ONNX_FILE: flat.tobytes(), GOLDEN_FILE: encode_holdout(golden, outputs)},
            input="columns",
            output="scores",
            tolerance=Tolerance(),
        )


def _scores(
    spec: ModelSpec, flat: Float32Array, x: NDArray[np.floating[Any]]
) -> NDArray[np.floating[Any]]:
    columns, classes = len(spec.input.names), len(spec.outputs)
    kernel = flat[: columns * classes].reshape(columns, classes)
    return np.asarray(x @ kernel + flat[columns * classes :])
