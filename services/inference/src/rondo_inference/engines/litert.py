"""LiteRT, which needs the extra ``litert``; only imported where it is there."""

from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from rondo_core.exports import TFLITE_FILE, ExportInvalid
from rondo_inference.domain.tensors import Signature, TensorInfo, Tensors, datatype_of
from rondo_inference.engines.engine import Engine, without_folder

__all__ = ["LiteRtEngine", "open_litert"]

_REFUSALS = (RuntimeError, ValueError)
"""What LiteRT raises where it computes: the second kind for a wrong dtype."""


class LiteRtEngine:
    """An ``Engine`` that is some interpreters of one model, since one computes one batch at a time.

    An interpreter is fitted to a batch of another size than its last one within microseconds, so
    none is kept for each size: each has its own copy of the weights.

    Args:
        interpreters: of one model, as many as batches are computed at a time.
        signature: one input, one output.
    """

    def __init__(self, interpreters: list["_Interpreter"], signature: Signature) -> None:
        self._free: SimpleQueue[_Interpreter] = SimpleQueue()
        self._signature = signature
        for one in interpreters:
            self._free.put(one)

    @property
    def signature(self) -> Signature:
        """See ``Engine``."""
        return self._signature

    def run(self, inputs: Tensors) -> Tensors:
        """Return the outputs; the array is the caller's. Waits while all interpreters compute."""
        interpreter = self._free.get()
        try:
            return interpreter.run(inputs)
        except _REFUSALS as exc:
            raise ExportInvalid(f"{TFLITE_FILE}: LiteRT cannot run it: {exc}") from exc
        finally:
            self._free.put(interpreter)


class _Interpreter:
    """Fitted to the size of its last batch; used by one thread at a time."""

    def __init__(self, model: Path, threads: int) -> None:
        self._interpreter = Interpreter(model_path=str(model), num_threads=threads)
        self._interpreter.allocate_tensors()  # packs the weights
        runner = self._interpreter.get_signature_runner()
        (self.input,) = runner.get_input_details().items()
        (self.output,) = runner.get_output_details().items()
        self._takes: int = self.input[1]["index"]
        self._gives: int = self.output[1]["index"]
        self._shape: tuple[int, ...] = tuple(self.input[1]["shape"].tolist())

    def run(self, inputs: Tensors) -> Tensors:
        (tensor,) = inputs
        if tensor.shape != self._shape:
            self._shape = ()  # where fitting it fails, it is fitted to nothing
            self._interpreter.resize_tensor_input(self._takes, tensor.shape, strict=True)
            self._interpreter.allocate_tensors()
            self._shape = tensor.shape
        self._interpreter.set_tensor(self._takes, tensor)
        self._interpreter.invoke()
        return (self._interpreter.get_tensor(self._gives),)


def open_litert(model: Path, *, threads: int, copies: int) -> Engine:
    """Open a model.

    Its threads wait without spinning for longer than some microseconds; with one there is no pool.

    Args:
        model: the ``.tflite`` file; mapped, since the interpreters share what they do not repack,
            so it must not be changed afterwards, but may be removed.
        threads: that one prediction may use; at least 1.
        copies: batches that are computed at a time; at least 1.

    Raises:
        ExportInvalid: LiteRT refuses the file, or it has not one input and one output.

    Source: ``tf.lite.Interpreter`` (tensorflow.org/api_docs/python/tf/lite/Interpreter): only one
    thread at a time may use an instance.
    """
    try:
        interpreters = [_Interpreter(model, threads) for _ in range(copies)]
        takes, gives = _info(*interpreters[0].input), _info(*interpreters[0].output)
    except Exception as exc:  # whatever a damaged file leads to
        reason = without_folder(exc, model.parent)
        raise ExportInvalid(f"{TFLITE_FILE}: LiteRT refuses it: {reason}") from exc
    return LiteRtEngine(interpreters, Signature((takes,), (gives,)))


def _info(name: str, details: dict[str, Any]) -> TensorInfo:
    shape = details["shape_signature"].tolist()
    return TensorInfo(name, datatype_of(np.dtype(details["dtype"])), tuple(shape))
