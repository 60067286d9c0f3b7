"""The Open Inference Protocol's answer, JSON and binary tensors mixed; see `domain.oip`."""

from collections.abc import Mapping, Sequence
from functools import lru_cache

from msgspec import Struct

from rondo_core.errors import Invalid
from rondo_inference.domain.oip import Infer
from rondo_inference.domain.tensor_json import encode_json
from rondo_inference.domain.tensors import Signature, Tensor, Tensors, datatype_of, encode_raw

__all__ = ["Told", "encode_infer"]


class Told(Struct, frozen=True):
    """What an answer tells of the version.

    Attributes:
        model: its name.
        version: its number.
        parameters: what else is told; none: there is no such member.
    """

    model: str
    version: str
    parameters: tuple[tuple[str, str], ...] = ()


class _Described(Struct, frozen=True):
    name: str
    shape: tuple[int, ...]
    datatype: str
    size_bytes: int


def encode_infer(
    told: Told, request: Infer, signature: Signature, outputs: Tensors
) -> tuple[bytes, int | None]:
    """Return the body of the answer, and the length of its JSON where binary tensors follow it.

    Args:
        told: see there.
        request: what was asked.
        signature: of the version.
        outputs: all of them.

    Raises:
        Invalid: an output that is to be JSON is not.
    """
    described: list[_Described | Mapping[str, object]] = []
    blobs: list[bytes] = []
    for wanted in request.outputs:
        tensor, name = outputs[wanted.at], signature.outputs[wanted.at].name
        datatype = datatype_of(tensor.dtype)
        if wanted.binary:
            blobs.append(encode_raw(tensor))
            described.append(_Described(name, tensor.shape, datatype, len(blobs[-1])))
        else:
            shape = list(tensor.shape)
            one = {"name": name, "shape": shape, "datatype": datatype}
            described.append({**one, "data": _json_data(tensor)})
    if len(blobs) == len(described) and request.id is None:
        text = _same(told, tuple(described))
    else:
        text = _text(told, request.id, described)
    return (b"".join([text, *blobs]), len(text)) if blobs else (text, None)


@lru_cache(maxsize=256)
def _same(told: Told, described: tuple[_Described, ...]) -> bytes:
    """Return what is the same whatever the tensors hold."""
    return _text(told, None, described)


def _text(told: Told, named: str | None, described: Sequence[object]) -> bytes:
    message: dict[str, object] = {"model_name": told.model, "model_version": told.version}
    if told.parameters:
        message["parameters"] = dict(told.parameters)
    if named is not None:
        message["id"] = named
    outputs = [
        {"name": one.name, "shape": one.shape, "datatype": one.datatype,
         "parameters": {"binary_data_size": one.size_bytes}}
        if isinstance(one, _Described) else one
        for one in described
    ]  # fmt: skip
    return encode_json({**message, "outputs": outputs})


def _json_data(tensor: Tensor) -> list[object]:
    flat: list[object] = tensor.ravel().tolist()
    if tensor.dtype != object:
        return flat
    try:
        return [element.decode() if isinstance(element, bytes) else element for element in flat]
    except UnicodeDecodeError as exc:
        raise Invalid("an output of BYTES is not UTF-8: ask for it with binary_data") from exc
