"""JSON lines: one JSON value a line is one row; blank lines are skipped.

Source: jsonlines.org.
"""

import io
from collections.abc import Iterator

from rondo_core.errors import Invalid, RowInvalid
from rondo_core.layout import Float32Array
from rondo_core.model_inputs import Row
from rondo_core.model_spec import ModelSpec
from rondo_inference.domain.json_pieces import LARGE_BYTES
from rondo_inference.domain.large_rows import large_row
from rondo_inference.domain.large_tensors import joined
from rondo_inference.domain.row_faults import RowFault, decode_blocks, in_blocks
from rondo_inference.domain.tensor_bodies import large_row_tensors, tensors_of_rows
from rondo_inference.domain.tensor_json import decode_json
from rondo_inference.domain.tensors import Signature, Tensors

__all__ = ["decode_lines", "decode_tensor_lines"]

_MARK = "\N{BYTE ORDER MARK}".encode()


def decode_lines(body: bytes, spec: ModelSpec) -> Float32Array:
    """Read rows as ``decode_rows`` takes them.

    Raises:
        Invalid: there is no line.
        RowFaults: lines that are not JSON, or whose row does not fit.
    """
    inputs = decode_blocks(spec, in_blocks(spec, _rows(body, spec)))
    if not len(inputs):
        raise Invalid("the body is empty; send one JSON value a line")
    return inputs


def decode_tensor_lines(body: bytes, signature: Signature) -> Tensors:
    """Read rows for a model that is only tensors; see ``tensors_of_rows``.

    Raises:
        Invalid: there is no line, or a row does not fit.
        RowInvalid: names a line that is not JSON.
    """
    parts: list[Tensors] = []
    rows: list[object] = []
    start, size = 0, 0
    for at, line in enumerate(_lines(body)):
        try:
            large = len(line) > LARGE_BYTES
            if size > LARGE_BYTES or (large and rows):
                parts.append(tensors_of_rows(rows, signature, start=start))
                rows, start, size = [], at, 0
            if large:
                parts.append(large_row_tensors(line, signature))
                start = at + 1
            else:
                rows.append(decode_json(line))
                size += len(line)
        except (Invalid, UnicodeDecodeError) as exc:
            raise RowInvalid(at, None, f"{exc}") from exc
    if rows:
        parts.append(tensors_of_rows(rows, signature, start=start))
    if not parts:
        raise Invalid("the body is empty; send one JSON value a line")
    infos = signature.inputs
    columns = zip(infos, zip(*parts, strict=True), strict=True)
    return tuple(joined(info.name, column) for info, column in columns)


def _rows(body: bytes, spec: ModelSpec) -> Iterator[Row | RowFault]:
    for at, line in enumerate(_lines(body)):
        try:
            found: Row = large_row(line, spec) if len(line) > LARGE_BYTES else decode_json(line)
        except (Invalid, UnicodeDecodeError) as exc:
            yield RowFault(at, None, f"not a line of JSON: {exc}")
        else:
            yield found


def _lines(body: bytes) -> Iterator[bytes]:
    """Cut one line after the other; a list of all may be as long as the body."""
    lines = io.BytesIO(body.removeprefix(_MARK))
    return (line for line in lines if not line.isspace())
