"""TensorFlow, which needs the extra ``tensorflow``; only imported where it is asked for.

A function of the graph is called, never ``model.predict``, and nothing here needs Keras.
"""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from rondo_core.exports import SAVED_MODEL_FOLDER, ExportInvalid
from rondo_inference.domain.tensors import (
    Signature,
    TensorInfo,
    Tensors,
    datatype_of,
    shape_fits,
)
from rondo_inference.engines.engine import Engine, without_folder

__all__ = ["SavedModelEngine", "open_saved_model", "set_threads"]

_SIGNATURE = "serving_default"


@cache
def set_threads(threads: int, copies: int) -> None:
    """Start TensorFlow with its threads, which the whole process has; later calls change nothing.

    Args:
        threads: that one prediction may use; at least 1.
        copies: predictions that are computed at a time; at least 1.

    Source: ``tf.config.threading``: both are to be set before TensorFlow computes anything.
    """
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(copies)
    tf.zeros(1)


class SavedModelEngine:
    """An ``Engine`` that is a signature of a SavedModel.

    Args:
        loaded: the model; the signature alone does not keep its variables.
        signature: one input, one output.
    """

    def __init__(self, loaded: Any, signature: Signature) -> None:  # noqa: ANN401  (TensorFlow has no types)
        self._loaded = loaded
        self._function = loaded.signatures[_SIGNATURE]
        self._signature = signature
        self._takes, self._gives = signature.inputs[0], signature.outputs[0]

    @property
    def signature(self) -> Signature:
        """See ``Engine``."""
        return self._signature

    def run(self, inputs: Tensors) -> Tensors:
        """Return the outputs; a shape that the model does not take would end the process."""
        (tensor,) = inputs
        if tensor.dtype != self._takes.dtype or not shape_fits(self._takes.shape, tensor.shape):
            raise ExportInvalid(
                f"{SAVED_MODEL_FOLDER}: it takes {self._takes}, not {tensor.dtype} {tensor.shape}"
            )
        try:
            found = self._function(**{self._takes.name: tf.constant(tensor)})
            return (np.asarray(found[self._gives.name]),)
        except Exception as exc:  # TensorFlow's errors have no base of their own
            raise ExportInvalid(f"{SAVED_MODEL_FOLDER}: TensorFlow cannot run it: {exc}") from exc


def open_saved_model(folder: Path) -> Engine:
    """Open a model.

    Args:
        folder: holds the export's SavedModel; not kept.

    Raises:
        ExportInvalid: TensorFlow refuses it, or it has not one input and one output.
    """
    try:
        loaded = tf.saved_model.load(str(folder / SAVED_MODEL_FOLDER))
        function = loaded.signatures[_SIGNATURE]
        ((takes, taken),) = function.structured_input_signature[1].items()
        ((gives, given),) = function.structured_outputs.items()
    except Exception as exc:  # likewise
        reason = without_folder(exc, folder)
        raise ExportInvalid(f"{SAVED_MODEL_FOLDER}: TensorFlow refuses it: {reason}") from exc
    return SavedModelEngine(loaded, Signature((_info(takes, taken),), (_info(gives, given),)))


def _info(name: str, spec: Any) -> TensorInfo:  # noqa: ANN401  (see above)
    shape = tuple(-1 if side is None else side for side in spec.shape.as_list())
    return TensorInfo(name, datatype_of(np.dtype(spec.dtype.as_numpy_dtype)), shape)
