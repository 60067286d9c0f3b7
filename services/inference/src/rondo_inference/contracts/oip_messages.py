"""The Open Inference Protocol's gRPC messages to tensors and back.

Source: kserve/open-inference-protocol, inference_grpc.md.
"""

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

import numpy as np

from rondo_core.errors import Invalid
from rondo_core.input_bounds import Beyond
from rondo_inference.checks import checked
from rondo_inference.contracts import oip_pb2 as pb
from rondo_inference.contracts.warnings import PARAMETER, warnings_text
from rondo_inference.domain.named_inputs import in_order
from rondo_inference.domain.tensors import (
    BYTES,
    DTYPES,
    Tensor,
    TensorInfo,
    Tensors,
    check_shape,
    datatype_of,
    decode_raw,
    encode_raw,
)
from rondo_inference.registry.served import ServedModel
from rondo_inference.stats import Duration, Stats
from rondo_inference.tally import tally

__all__ = ["decode_request", "describe_tensor", "encode_response", "encode_statistics"]

_FIELDS: Mapping[str, str] = MappingProxyType(
    {
        "BOOL": "bool_contents",
        "INT8": "int_contents",
        "INT16": "int_contents",
        "INT32": "int_contents",
        "INT64": "int64_contents",
        "UINT8": "uint_contents",
        "UINT16": "uint_contents",
        "UINT32": "uint_contents",
        "UINT64": "uint64_contents",
        "FP32": "fp32_contents",
        "FP64": "fp64_contents",
        BYTES: "bytes_contents",
    }
)
"""FP16 has no field: it is always raw."""

_BLOCK = 16 * 1024
"""So many numbers at a time are objects of Python's: each takes 32 bytes, and no other thread runs
while they are made."""


def decode_request(request: pb.ModelInferRequest, served: ServedModel) -> Tensors:
    """Return the inputs in the order of the signature, checked.

    Raises:
        Invalid: names the input and the rule.
    """
    raw = request.raw_input_contents
    if raw and len(raw) != len(request.inputs):
        raise Invalid(f"{len(raw)} raw contents for {len(request.inputs)} inputs")
    inputs: dict[str, Tensor] = {}
    for place, one in enumerate(request.inputs):
        if one.name in inputs:
            raise Invalid(f"input {one.name!r} is there twice")
        if raw and one.HasField("contents"):
            raise Invalid(f"input {one.name!r} has contents beside raw contents")
        inputs[one.name] = (
            decode_raw(one.name, one.datatype, one.shape, raw[place]) if raw else _typed(one)
        )
    if not inputs:
        raise Invalid("the request has no input")
    return checked(served, in_order(inputs, served.signature, served.spec))


def _typed(one: pb.ModelInferRequest.InferInputTensor) -> Tensor:
    field = _FIELDS.get(one.datatype)
    if field is None:
        known = ", ".join(_FIELDS)
        raise Invalid(f"input {one.name!r}: {one.datatype!r} as contents is none of {known}")
    values = getattr(one.contents, field)
    count = check_shape(f"input {one.name!r}", one.shape)
    if len(values) != count:
        raise Invalid(
            f"input {one.name!r} has {len(values)} {field}, shape {list(one.shape)} has {count}"
        )
    dtype = DTYPES[one.datatype]
    result = np.empty(count, dtype)
    try:
        for at in range(0, count, _BLOCK):
            result[at : at + _BLOCK] = values[at : at + _BLOCK]
    except (OverflowError, ValueError) as exc:
        raise Invalid(f"input {one.name!r}: {exc}") from exc
    return result.reshape(tuple(one.shape))


def encode_response(
    request: pb.ModelInferRequest,
    served: ServedModel,
    outputs: Tensors,
    beyond: Sequence[Beyond] = (),
) -> pb.ModelInferResponse:
    """Return the answer: raw where the request was raw, or where an output has no typed field.

    Numbers beyond bounds are told as a parameter.
    """
    response = pb.ModelInferResponse(
        model_name=served.name, model_version=str(served.version), id=request.id
    )
    if beyond:
        response.parameters[PARAMETER].string_param = warnings_text(beyond)
    places = list(_places(request, served))
    tensors = [outputs[place] for place in places]
    raw = bool(request.raw_input_contents) or any(
        datatype_of(tensor.dtype) not in _FIELDS for tensor in tensors
    )
    for place, tensor in zip(places, tensors, strict=True):
        datatype = datatype_of(tensor.dtype)
        described = response.outputs.add(
            name=served.signature.outputs[place].name, datatype=datatype, shape=tensor.shape
        )
        if raw:
            response.raw_output_contents.append(encode_raw(tensor))
        else:
            flat, values = tensor.ravel(), getattr(described.contents, _FIELDS[datatype])
            for at in range(0, flat.size, _BLOCK):
                values.extend(flat[at : at + _BLOCK].tolist())
    return response


def _places(request: pb.ModelInferRequest, served: ServedModel) -> Iterable[int]:
    if not request.outputs:
        return range(len(served.signature.outputs))
    return [served.signature.output_at(one.name) for one in request.outputs]


def describe_tensor(info: TensorInfo) -> pb.ModelMetadataResponse.TensorMetadata:
    """Return the metadata of an input or an output."""
    return pb.ModelMetadataResponse.TensorMetadata(
        name=info.name, datatype=info.datatype, shape=info.shape
    )


def encode_statistics(name: str, version: int, stats: Stats) -> pb.ModelStatistics:
    """Return the numbers of a version."""
    told = tally(stats)
    compute_input, compute_infer, compute_output = told.steps.durations
    batches = [(rows, steps.durations) for rows, steps in told.batches]
    return pb.ModelStatistics(
        name=name,
        version=str(version),
        last_inference=stats.last_ms,
        inference_count=told.rows,
        execution_count=told.infer.count,
        inference_stats=pb.InferStatistics(
            success=_duration(told.success),
            fail=_duration(stats.fail),
            queue=_duration(told.queued),
            compute_input=_duration(compute_input),
            compute_infer=_duration(compute_infer),
            compute_output=_duration(compute_output),
        ),
        batch_stats=[
            pb.InferBatchStatistics(
                batch_size=rows,
                compute_input=_duration(parts[0]),
                compute_infer=_duration(parts[1]),
                compute_output=_duration(parts[2]),
            )
            for rows, parts in batches
        ],
    )


def _duration(duration: Duration) -> pb.StatisticDuration:
    return pb.StatisticDuration(count=duration.count, ns=duration.ns)
