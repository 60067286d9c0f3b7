"""ONNX Runtime: what every version can be computed with."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as native

from rondo_core.exports import ONNX_FILE, ExportInvalid
from rondo_inference.domain.tensors import BYTES, Signature, Tensor, TensorInfo, Tensors
from rondo_inference.engines.engine import Engine, without_folder

__all__ = ["OnnxEngine", "open_onnx", "prime"]

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

_DATATYPES = {
    "tensor(bool)": "BOOL",
    "tensor(uint8)": "UINT8",
    "tensor(uint16)": "UINT16",
    "tensor(uint32)": "UINT32",
    "tensor(uint64)": "UINT64",
    "tensor(int8)": "INT8",
    "tensor(int16)": "INT16",
    "tensor(int32)": "INT32",
    "tensor(int64)": "INT64",
    "tensor(float16)": "FP16",
    "tensor(float)": "FP32",
    "tensor(double)": "FP64",
    "tensor(string)": BYTES,
}


_SMALLEST = bytes.fromhex(
    "080912003a400a110a01610a016112016222064d61744d756c1201675a130a0161120e0a0c080112"
    "080a0208010a02080162130a0162120e0a0c080112080a0208010a02080142040a001011"
)
"""An ONNX model that multiplies a number by itself."""


class OnnxEngine:
    """An ``Engine`` that is an ONNX Runtime session on the CPU."""

    def __init__(self, session: onnxruntime.InferenceSession, signature: Signature) -> None:
        self._session = session
        self._signature = signature
        self._inputs = [info.name for info in signature.inputs]
        self._outputs = [info.name for info in signature.outputs]
        self._with_text = BYTES in {i.datatype for i in (*signature.inputs, *signature.outputs)}

    @property
    def signature(self) -> Signature:
        """See ``Engine``."""
        return self._signature

    def run(self, inputs: Tensors) -> Tensors:
        """Return the outputs; the arrays are the caller's."""
        if self._with_text:
            inputs = tuple(_as_text(tensor) for tensor in inputs)
        try:
            found = self._session.run(self._outputs, dict(zip(self._inputs, inputs, strict=True)))
        except _REFUSALS as exc:
            raise ExportInvalid(f"{ONNX_FILE}: ONNX Runtime cannot run it: {exc}") from exc
        return tuple(map(_as_bytes, found)) if self._with_text else tuple(found)


def _as_text(tensor: Tensor) -> Tensor:
    if tensor.dtype != object:
        return tensor
    text = np.empty(tensor.shape, object)
    text.ravel()[:] = [element.decode() for element in tensor.ravel()]
    return text


def _as_bytes(tensor: Tensor) -> Tensor:
    if tensor.dtype != object:
        return tensor
    found = np.empty(tensor.shape, object)
    found.ravel()[:] = [element.encode() for element in tensor.ravel()]
    return found


def open_onnx(model: bytes | Path, *, threads: int) -> Engine:
    """Open a model.

    Waiting threads sleep instead of spinning: a spinning one takes the CPU from the event loop.

    Args:
        model: the ONNX file, or its content. What of a file is kept apart is mapped, so it must not
            be changed afterwards, but may be removed.
        threads: that one prediction may use; at least 1.

    Raises:
        ExportInvalid: ONNX Runtime refuses the file, or an input or output is not a tensor of the
            Open Inference Protocol's types.

    Source: ONNX Runtime, "Thread management" (onnxruntime.ai/docs/performance).
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except _REFUSALS as exc:
        reason = without_folder(exc, model.parent) if isinstance(model, Path) else str(exc)
        raise ExportInvalid(f"{ONNX_FILE}: ONNX Runtime refuses it: {reason}") from exc
    signature = Signature(_infos(session.get_inputs()), _infos(session.get_outputs()))
    if not signature.inputs or not signature.outputs:
        raise ExportInvalid(f"{ONNX_FILE}: it has no input or no output")
    return OnnxEngine(session, signature)


def prime() -> None:
    """Let the runtime set itself up, so that the first model is not counted with it."""
    engine = open_onnx(_SMALLEST, threads=1)
    engine.run((np.ones((1, 1), np.float32),))


def _infos(ends: Sequence[Any]) -> tuple[TensorInfo, ...]:
    return tuple(_info(end) for end in ends)


def _info(end: Any) -> TensorInfo:  # noqa: ANN401  (the runtime has no types)
    datatype = _DATATYPES.get(end.type)
    if datatype is None:
        raise ExportInvalid(f"{ONNX_FILE}: {end.name!r} is a {end.type}, which no contract carries")
    sides = (side if isinstance(side, int) else -1 for side in end.shape or ())
    return TensorInfo(end.name, datatype, tuple(sides))
