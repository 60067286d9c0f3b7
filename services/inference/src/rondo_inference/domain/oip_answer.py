"""The Open Inference Protocol's answer, JSON and binary tensors mixed; see `domain.oip`."""

from collections.abc import Mapping

from rondo_core.errors import Invalid
from rondo_inference.domain.oip import Infer
from rondo_inference.domain.tensor_json import encode_json
from rondo_inference.domain.tensors import Signature, Tensor, Tensors, datatype_of, encode_raw

__all__ = ["encode_infer"]


def encode_infer(
    told: Mapping[str, object], request: Infer, signature: Signature, outputs: Tensors
) -> tuple[bytes, int | None]:
    """Return the body of the answer, and the length of its JSON where binary tensors follow it.

    Args:
        told: what the answer tells of the version, and its parameters if there are any.
        request: what was asked.
        signature: of the version.
        outputs: all of them.

    Raises:
        Invalid: an output that is to be JSON is not.
    """
    described: list[dict[str, object]] = []
    blobs: list[bytes] = []
    for wanted in request.outputs:
        tensor = outputs[wanted.at]
        one: dict[str, object] = {
            "name": signature.outputs[wanted.at].name,
            "shape": list(tensor.shape),
            "datatype": datatype_of(tensor.dtype),
        }
        if wanted.binary:
            blobs.append(encode_raw(tensor))
            one["parameters"] = {"binary_data_size": len(blobs[-1])}
        else:
            one["data"] = _json_data(tensor)
        described.append(one)
    named = {} if request.id is None else {"id": request.id}
    text = encode_json({**told, **named, "outputs": described})
    return (b"".join([text, *blobs]), len(text)) if blobs else (text, None)


def _json_data(tensor: Tensor) -> list[object]:
    flat: list[object] = tensor.ravel().tolist()
    if tensor.dtype != object:
        return flat
    try:
        return [element.decode() if isinstance(element, bytes) else element for element in flat]
    except UnicodeDecodeError as exc:
        raise Invalid("an output of BYTES is not UTF-8: ask for it with binary_data") from exc
