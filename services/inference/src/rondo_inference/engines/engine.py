"""What computes a prediction: the port."""

from typing import Protocol

from rondo_inference.domain.tensors import Signature, Tensors

__all__ = ["Engine"]


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
