"""What computes a prediction: the port."""

from pathlib import Path
from typing import Protocol

from rondo_inference.domain.tensors import Signature, Tensors

__all__ = ["Engine", "without_folder"]


class Engine(Protocol):
    """One version, ready to compute."""

    @property
    def signature(self) -> Signature:
        """What goes in and what comes out."""
        ...

    def run(self, inputs: Tensors) -> Tensors:
        """Return the outputs, in the signature's order, for inputs in the signature's order.

        Blocks while it computes, without the interpreter's lock. Safe to call from several threads
        at once. A pure function of its argument.

        Raises:
            ExportInvalid: the runtime refuses.
        """
        ...


def without_folder(exc: Exception, folder: Path) -> str:
    """Return what a runtime says of its files, without the folder that they were in for a moment.

    Example:
        >>> without_folder(ValueError("cannot read /tmp/x1/model.onnx"), Path("/tmp/x1"))
        'cannot read model.onnx'
    """
    return str(exc).replace(f"{folder}/", "")
