"""A batch job's output and failures: one record per input record, in order."""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import cast

import msgspec

from rondo_core.input_bounds import tells, told_by_row
from rondo_core.layout import Float32Array
from rondo_core.model_spec import ModelSpec
from rondo_core.output_schema import Classes
from rondo_inference.domain.answers import labelled_rows, likeliest, set_aside
from rondo_inference.domain.batch_records import Records
from rondo_inference.domain.row_faults import RowFault
from rondo_inference.domain.spreadsheets import as_text
from rondo_inference.domain.tensor_json import encode_json

__all__ = [
    "ScoredChunk",
    "answered",
    "failure_lines",
    "output_head",
    "output_lines",
    "pack",
    "unpack",
]

CSV = "text/csv"
_LENGTH_BYTES = 4


class ScoredChunk(msgspec.Struct, frozen=True, kw_only=True):
    """What a chunk's object says before its output.

    Attributes:
        records: of the chunk.
        faults: of those that do not fit, counted from the chunk's first record.
    """

    records: int
    faults: tuple[RowFault, ...] = ()


def pack(chunk: ScoredChunk, output: bytes) -> bytes:
    """Return the content of a chunk's object: a length, the head as JSON, the output.

    >>> unpack(pack(ScoredChunk(records=2), b"a,b"))
    (ScoredChunk(records=2, faults=()), b'a,b')
    """
    head = msgspec.json.encode(chunk)
    return len(head).to_bytes(_LENGTH_BYTES, "little") + head + output


def unpack(content: bytes) -> tuple[ScoredChunk, bytes]:
    """Read the content of a chunk's object; it was written here, and S3 checked its digest."""
    stop = _LENGTH_BYTES + int.from_bytes(content[:_LENGTH_BYTES], "little")
    return msgspec.json.decode(content[_LENGTH_BYTES:stop], type=ScoredChunk), content[stop:]


def answered(records: Records, outputs: Float32Array) -> tuple[Records, Float32Array]:
    """Return records and outputs of which every output is finite; the others are faults as well."""
    told, faults = set_aside(records.faults, outputs)
    return Records(records.inputs[told], faults, records.total), outputs[told]


def output_head(spec: ModelSpec, media: str, *, named: bool) -> bytes:
    """Return what the output begins with: in CSV the names of its columns.

    Args:
        spec: of the model.
        media: CSV or JSON lines.
        named: whether each record tells the file that it comes from.
    """
    if media != CSV:
        return b""
    told = ["warning"] if tells(spec.input) else []
    return _csv([[*(["file"] if named else []), *map(as_text, _columns(spec)), "error", *told]])


def output_lines(
    spec: ModelSpec, media: str, records: Records, outputs: Float32Array, names: Sequence[str] = ()
) -> bytes:
    """Return one line per record, in order.

    A record that does not fit is a line too: in CSV empty cells and the rule under ``error``, in
    JSON ``{"error": …, "column": …}``. A record with numbers beyond bounds that are answered has
    ``warning``; in CSV that is a column where the model has such bounds, and text that a
    spreadsheet would compute is marked as text.

    Args:
        spec: of the model.
        media: CSV or JSON lines.
        records: what was read.
        outputs: (fitting, outputs), what the model said; finite, see ``answered``.
        names: of the records' files, where they come from files.
    """
    if media == CSV:
        return _csv(_csv_rows(spec, records, outputs, names))
    return b"".join(encode_json(one) + b"\n" for one in _objects(spec, records, outputs, names))


def _csv_rows(
    spec: ModelSpec, records: Records, outputs: Float32Array, names: Sequence[str]
) -> Iterator[list[str]]:
    fitting = iter(_csv_cells(spec, outputs))
    empty = [""] * len(_columns(spec))
    faults, warnings = {fault.row: fault for fault in records.faults}, _warnings(spec, records)
    for at in range(records.total):
        cells = next(fitting) if at not in faults else [*empty, as_text(_told(faults[at]))]
        warning = [as_text(warnings.get(at, ""))] if tells(spec.input) else []
        yield [*map(as_text, names[at : at + 1]), *cells, *warning]


def _objects(
    spec: ModelSpec, records: Records, outputs: Float32Array, names: Sequence[str]
) -> Iterator[dict[str, object]]:
    fitting = iter(cast("list[dict[str, object]]", labelled_rows(spec, outputs)))
    faults, warnings = {fault.row: fault for fault in records.faults}, _warnings(spec, records)
    for at in range(records.total):
        found = next(fitting) if at not in faults else _fault_object(faults[at], "error")
        warning = {"warning": warnings[at]} if at in warnings else {}
        yield ({"file": names[at]} if names else {}) | found | warning


def _warnings(spec: ModelSpec, records: Records) -> Mapping[int, str]:
    told, places = told_by_row(spec.input, records.inputs), records.fitting
    return {places[row]: text for row, text in told.items()}


def failure_lines(chunk: ScoredChunk, *, first: int, names: Sequence[str] = ()) -> bytes:
    """Return a line of JSON per record that does not fit: its number in the input, and why.

    Args:
        chunk: which.
        first: the number of its first record, from 0.
        names: of the chunk's files, where its records come from files.
    """
    return b"".join(
        encode_json(
            {"row": first + fault.row}
            | ({"file": names[fault.row]} if names else {})
            | _fault_object(fault, "rule")
        )
        + b"\n"
        for fault in chunk.faults
    )


def _columns(spec: ModelSpec) -> list[str]:
    if isinstance(spec.output, Classes):
        return ["label", *(f"probability_{label}" for label in spec.output.labels)]
    return [spec.output.name]


def _csv_cells(spec: ModelSpec, outputs: Float32Array) -> list[list[str]]:
    cells: list[list[str]] = outputs.astype(str).tolist()  # the shortest text that is this float32
    if not isinstance(spec.output, Classes):
        return [[*row, ""] for row in cells]
    labels = [as_text(label or "") for label in likeliest(spec.output, outputs)]
    return [[label, *row, ""] for label, row in zip(labels, cells, strict=True)]


def _csv(rows: Iterable[Sequence[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def _told(fault: RowFault) -> str:
    return fault.rule if fault.column is None else f"column {fault.column!r}: {fault.rule}"


def _fault_object(fault: RowFault, name: str) -> dict[str, object]:
    found: dict[str, object] = {name: fault.rule}
    return found if fault.column is None else {"column": fault.column, **found}
