"""NumPy's files to what a model takes; what does not fit is refused by its header alone."""

import math
from functools import partial

import numpy as np

from rondo_core.errors import Invalid
from rondo_core.input_schema import TableInput
from rondo_inference.checks import checked
from rondo_inference.contracts.writers import NPZ
from rondo_inference.domain.named_inputs import in_order
from rondo_inference.domain.npy import decode_npy, decode_npz
from rondo_inference.domain.tensors import BYTES, Tensor, Tensors, datatype_of, shape_fits
from rondo_inference.registry.served import ServedModel

__all__ = ["ask_npy", "ask_npz"]

_OBJECT_BYTES = 16
"""What an element that becomes an object counts at least, however short its text is."""


def ask_npy(data: bytes, served: ServedModel, *, max_bytes: int) -> Tensors:
    """Read the only input of a model from a ``.npy`` file; see `ask_npz`."""
    infos = served.signature.inputs
    if len(infos) != 1:
        raise Invalid(f"the model has several inputs; send {NPZ}")
    check = partial(_check, served, max_bytes, infos[0].name)
    return checked(served, (_as_taken(decode_npy(data, check=check), served, 0),))


def ask_npz(data: bytes, served: ServedModel, *, max_bytes: int) -> Tensors:
    """Read the inputs of a model from an ``.npz`` file.

    Args:
        data: the file.
        served: the version that is to answer.
        max_bytes: what the arrays may have together when unpacked.

    Raises:
        Invalid: not such a file, too large, or an array is not what the model takes.
    """
    check = partial(_check, served, max_bytes)
    found = dict(decode_npz(data, max_bytes=max_bytes, check=check))
    infos = served.signature.inputs
    if len(infos) == 1 and len(found) == 1:  # its name says nothing, for example arr_0
        found = {infos[0].name: next(iter(found.values()))}
    inputs = in_order(found, served.signature, served.spec)
    return checked(served, tuple(_as_taken(one, served, at) for at, one in enumerate(inputs)))


def _check(
    served: ServedModel,
    max_bytes: int,
    name: str,
    dtype: np.dtype[np.generic],
    shape: tuple[int, ...],
) -> None:
    """Refuse an array that is not what the model takes, before there is one."""
    text = dtype.kind in "SU"
    if not text:
        datatype_of(dtype)
    column = _is_column(served, name)
    if not column:
        _check_fits(served, name, shape, text=text)
    if (column or text) and math.prod(shape) * _OBJECT_BYTES > max_bytes:
        raise Invalid(f"array {name!r} has {math.prod(shape)} elements, too many to be read")


def _is_column(served: ServedModel, name: str) -> bool:
    spec = served.spec
    return spec is not None and isinstance(spec.input, TableInput) and name in spec.input.names


def _check_fits(served: ServedModel, name: str, shape: tuple[int, ...], *, text: bool) -> None:
    signature, spec = served.signature, served.spec
    only = len(signature.inputs) == 1  # then its name says nothing
    info = signature.inputs[0 if only else signature.input_at(name)]
    if text != (info.datatype == BYTES):
        found = "text" if text else "numbers"
        raise Invalid(f"array {name!r} is {found}, the model takes {info.datatype}")
    fits = shape_fits(info.shape, shape)
    if spec is not None:
        fits = len(shape) > 0 and math.prod(shape[1:]) == math.prod(spec.input.shape)
    if not fits:
        raise Invalid(f"array {name!r} has shape {list(shape)}, the model takes {list(info.shape)}")


def _as_taken(array: Tensor, served: ServedModel, at: int) -> Tensor:
    """Numbers of another width become the model's where none changes: NumPy's are 64 bits wide."""
    info = served.signature.inputs[at]
    if served.spec is not None:
        shape = served.spec.input.shape
        fits = array.ndim > 0 and array.shape[1:] != shape
        same = fits and array.size == len(array) * int(np.prod(shape))
        return array.reshape(-1, *shape) if same else array
    if array.dtype == info.dtype or "O" in {array.dtype.kind, info.dtype.kind}:
        return array
    with np.errstate(over="ignore", invalid="ignore"):
        wanted = array.astype(info.dtype)
    same_kind = info.dtype.kind == "f" or np.array_equal(wanted, array)
    return wanted if same_kind else array
