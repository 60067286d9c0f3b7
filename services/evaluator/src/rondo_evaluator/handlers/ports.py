"""What the evaluator needs from outside."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from rondo_core.bus import Publish
from rondo_core.clock import Clock
from rondo_core.exports import Tolerance
from rondo_core.layout import Float32Array
from rondo_core.model_spec import ModelSpec
from rondo_core.model_store import ModelStore
from rondo_core.run_store import RunStore
from rondo_core.telemetry import Metrics
from rondo_core.workflow import Workflow

__all__ = ["Exported", "ModelBench", "Ports"]


@dataclass(frozen=True, slots=True)
class Exported:
    """A version in the forms in which it is served.

    Attributes:
        files: name -> content; ``model.onnx`` and ``golden.safetensors`` are among them.
        input: name of the ONNX model's one input.
        output: name of its one output.
        tolerance: how exactly every runtime must reproduce the golden outputs.
    """

    files: Mapping[str, bytes]
    input: str
    output: str
    tolerance: Tolerance


class ModelBench(Protocol):
    """Where models are built and run; the only port behind which there is TensorFlow."""

    def evaluate(
        self, spec: ModelSpec, flat: Float32Array, x: NDArray[np.generic], y: NDArray[np.generic]
    ) -> dict[str, float]:
        """Measure a version; blocks for seconds.

        Args:
            spec: what the weights are of.
            flat: float32, shape (columns,).
            x: inputs as the exported model takes them, shape (n, *input shape).
            y: targets, shape (n,).

        Returns:
            Metric -> value; ``loss`` is always there.

        Raises:
            Invalid: the arrays do not fit the spec.
        """
        ...

    def export(self, spec: ModelSpec, flat: Float32Array) -> Exported:
        """Export a version and prove that every form computes what Keras computes; blocks.

        Raises:
            Invalid: a form disagrees with Keras by more than the tolerance.
        """
        ...


@dataclass(frozen=True, slots=True)
class Ports:
    """All of them, as one argument."""

    store: RunStore
    model_store: ModelStore
    bench: ModelBench
    publish: Publish
    workflow: Workflow
    clock: Clock
    metrics: Metrics
