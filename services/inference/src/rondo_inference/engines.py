"""What computes a prediction: the port, and ONNX Runtime behind it."""

from typing import Protocol

import numpy as np
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as native

from rondo_core.exports import ONNX_FILE, ExportIndex, ExportInvalid
from rondo_core.layout import Float32Array

__all__ = ["Engine", "OnnxEngine", "open_onnx"]

_REFUSALS = (
    native.Fail,
    native.InvalidArgument,
    native.InvalidGraph,
    native.InvalidProtobuf,
    native.NoModel,
    native.NotImplemented,
    native.RuntimeException,
    RuntimeError,
    ValueError,
)
"""What ONNX Runtime raises; its own errors have no base in common."""


class Engine(Protocol):
    """One version, ready to compute."""

    def run(self, inputs: Float32Array) -> Float32Array:
        """Return the outputs (n, outputs) for inputs (n, *input shape).

        Blocks while it computes, without the interpreter's lock. Safe to call from several threads
        at once. A pure function of its argument.
        """
        ...


class OnnxEngine:
    """An ``Engine`` that is an ONNX Runtime session on the CPU."""

    def __init__(self, session: onnxruntime.InferenceSession, index: ExportIndex) -> None:
        self._session = session
        self._input = index.input
        self._outputs = [index.output]

    def run(self, inputs: Float32Array) -> Float32Array:
        """Return the outputs; the array is the caller's."""
        try:
            (outputs,) = self._session.run(self._outputs, {self._input: inputs})
        except _REFUSALS as exc:
            raise ExportInvalid(f"{ONNX_FILE}: ONNX Runtime cannot run it: {exc}") from exc
        return np.asarray(outputs, np.float32)


def open_onnx(model: bytes, index: ExportIndex, *, threads: int) -> Engine:
    """Open a model.

    Waiting threads sleep instead of spinning: a spinning one takes the CPU from the event loop.

    Args:
        model: the ONNX file; not kept.
        index: names its input and output.
        threads: that one prediction may use; at least 1.

    Raises:
        ExportInvalid: ONNX Runtime refuses the file, or it has another input or output.

    Source: ONNX Runtime, "Thread management" (onnxruntime.ai/docs/performance).
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except _REFUSALS as exc:
        raise ExportInvalid(f"{ONNX_FILE}: ONNX Runtime refuses it: {exc}") from exc
    _check_ends("input", session.get_inputs(), index.input)
    _check_ends("output", session.get_outputs(), index.output)
    return OnnxEngine(session, index)


def _check_ends(kind: str, found: list[onnxruntime.NodeArg], name: str) -> None:
    ends = [(end.name, end.type) for end in found]
    if ends != [(name, "tensor(float)")]:
        raise ExportInvalid(f"{ONNX_FILE}: its {kind} is {ends}, promised was one float32 {name!r}")
