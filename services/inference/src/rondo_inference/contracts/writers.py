"""Predictions in every media type that we write."""

from collections.abc import Callable
from functools import partial

from rondo_core.model_spec import ModelSpec
from rondo_inference.contracts.messages import CSV, JSON, Answer, NotAcceptable
from rondo_inference.domain.answers import csv_answer, labelled_rows, tensor_answer
from rondo_inference.domain.csv_rows import plain_csv
from rondo_inference.domain.npy import encode_npy, encode_npz
from rondo_inference.domain.tensor_bodies import encode_tensors, tensor_rows
from rondo_inference.domain.tensor_json import encode_json
from rondo_inference.domain.tensors import Tensor, Tensors
from rondo_inference.registry.served import ServedModel

__all__ = ["LINES", "NPY", "NPZ", "WRITTEN", "as_tensors", "writer"]

LINES = "application/jsonlines"
NPY = "application/x-npy"
NPZ = "application/x-npz"
_CSV_ROWS = 2048
WRITTEN = (JSON, CSV, LINES, NPY, NPZ)


def as_tensors(served: ServedModel, outputs: Tensors, *, by_column: bool) -> Answer:
    """Return TF Serving's JSON."""
    if served.spec is not None:
        return Answer(tensor_answer(outputs[0], by_column=by_column))
    return Answer(encode_tensors(served.signature, outputs, by_column=by_column))


def writer(served: ServedModel, media: str) -> Callable[[Tensors], Answer]:
    """Return what writes a media type of ``WRITTEN``."""
    return partial(_WRITERS[media], served)


def _records(served: ServedModel, outputs: Tensors) -> list[object]:
    if served.spec is None:
        return tensor_rows(served.signature, outputs)
    return labelled_rows(served.spec, outputs[0])


def _write_json(served: ServedModel, outputs: Tensors) -> Answer:
    return Answer(encode_json({"predictions": _records(served, outputs)}))


def _write_lines(served: ServedModel, outputs: Tensors) -> Answer:
    lines = [encode_json(record) for record in _records(served, outputs)]
    return Answer(b"\n".join([*lines, b""]), LINES)


def _write_csv(served: ServedModel, outputs: Tensors) -> Answer:
    if served.spec is None:
        text = plain_csv(served.signature, outputs)
    else:
        text = _csv_text(served.spec, outputs[0])
    return Answer(text, f"{CSV}; charset=utf-8")


def _csv_text(spec: ModelSpec, outputs: Tensor) -> bytes:
    """Write some rows at a time: no other thread runs while NumPy makes text of all numbers."""
    head = csv_answer(spec, outputs[:0])
    starts = range(0, len(outputs), _CSV_ROWS)
    blocks = (csv_answer(spec, outputs[at : at + _CSV_ROWS]) for at in starts)
    return b"".join([head, *(block.removeprefix(head) for block in blocks)])


def _write_npy(served: ServedModel, outputs: Tensors) -> Answer:
    if len(outputs) != 1:
        raise NotAcceptable(f"the model has {len(outputs)} outputs; accept {NPZ}")
    del served
    return Answer(encode_npy(outputs[0]), NPY)


def _write_npz(served: ServedModel, outputs: Tensors) -> Answer:
    names = [info.name for info in served.signature.outputs]
    return Answer(encode_npz(dict(zip(names, outputs, strict=True))), NPZ)


_WRITERS: dict[str, Callable[[ServedModel, Tensors], Answer]] = {
    JSON: _write_json,
    CSV: _write_csv,
    LINES: _write_lines,
    NPY: _write_npy,
    NPZ: _write_npz,
}
