"""Every media type that rows come in and predictions go out by, for all routes that take files.

JSON in gives TF Serving's JSON; everything else in gives JSON that needs no table of labels.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial

from rondo_core.errors import Invalid
from rondo_core.input_schema import ImageInput
from rondo_inference.contracts.arrays import ask_npy, ask_npz
from rondo_inference.contracts.encoded import encoded_files
from rondo_inference.contracts.messages import (
    CSV,
    JSON,
    NotAcceptable,
    Question,
    Request,
    UnsupportedMedia,
)
from rondo_inference.contracts.pictures import PICTURES, Fit, decode_pictures
from rondo_inference.contracts.writers import LINES, NPY, NPZ, WRITTEN, as_tensors, writer
from rondo_inference.domain.csv_rows import decode_csv, decode_plain_csv
from rondo_inference.domain.json_lines import decode_lines, decode_tensor_lines
from rondo_inference.domain.multipart import decode_multipart
from rondo_inference.domain.negotiation import media_parameter, media_type, negotiated
from rondo_inference.domain.predict_body import SIGNATURE, decode_predict_body
from rondo_inference.domain.row_faults import decode_every_row
from rondo_inference.domain.tensor_bodies import (
    decode_tensors_body,
    tensors_of_rows,
)
from rondo_inference.domain.tensors import Tensors
from rondo_inference.handlers import checked
from rondo_inference.registry.served import ServedModel

__all__ = ["FORM", "LINES", "NPY", "NPZ", "FileRules", "ask_file", "ask_json", "ask_media",
           "unpacks"]  # fmt: skip

FORM = "multipart/form-data"
_ALSO_LINES = {"application/jsons", "application/x-jsonlines", "application/x-ndjson",
               "application/jsonl"}  # fmt: skip
_PACKED = {NPZ, FORM, *PICTURES}
_FILES = {CSV, NPY, LINES, *_PACKED, *_ALSO_LINES}


@dataclass(frozen=True, slots=True)
class FileRules:
    """What files may be.

    Attributes:
        max_bytes: of an archive, when unpacked.
        fit: what happens to a picture of another size.
    """

    max_bytes: int = 25 * 1024 * 1024
    fit: Fit = "refuse"


def is_file(kind: str) -> bool:
    """Whether a media type is one of those that are not JSON, by all routes."""
    return kind in _FILES


def unpacks(request: Request) -> bool:
    """Whether a short body may become a large one: an archive, or pictures."""
    kind = media_type(request.header("content-type"))
    return kind in _PACKED or b'"b64"' in request.body


def ask_media(rules: FileRules, request: Request, served: ServedModel) -> Question:
    """Read a body of any type; the answer is of the type that the caller accepts.

    Raises:
        UnsupportedMedia: the body is of another type.
        NotAcceptable: no type that we write is accepted.
        Invalid: the body breaks a rule.
    """
    kind = media_type(request.header("content-type")) or JSON
    if kind == JSON:
        return ask_json(rules, request, served)
    return ask_file(rules, request, served)


def ask_json(rules: FileRules, request: Request, served: ServedModel) -> Question:
    """Read TF Serving's JSON."""
    wanted = _wanted(request, JSON)
    if served.spec is None:
        inputs, by_column = decode_tensors_body(request.body, served.signature, SIGNATURE)
        inputs = checked(served, inputs)
    elif b'"b64"' in request.body and isinstance(served.spec.input, ImageInput):
        files = encoded_files(request.body)
        inputs, by_column = (decode_pictures(served.spec, files, fit=rules.fit),), False
    else:
        instances = decode_predict_body(request.body, served.spec)
        inputs, by_column = (instances.inputs,), instances.by_column
    if wanted == JSON:
        return Question.of(served, inputs, partial(as_tensors, served, by_column=by_column))
    return Question.of(served, inputs, writer(served, wanted))


def ask_file(rules: FileRules, request: Request, served: ServedModel) -> Question:
    """Read a file of rows, arrays or pictures, or a form of them."""
    header = request.header("content-type")
    kind = media_type(header)
    kind = LINES if kind in _ALSO_LINES else kind
    wanted = _wanted(request, kind if kind in WRITTEN else JSON)
    if kind == FORM:
        inputs = _form(rules, request.body, media_parameter(header, "boundary"), served)
    else:
        inputs = _read(rules, kind, request.body, served)
    return Question.of(served, inputs, writer(served, wanted))


def _wanted(request: Request, usual: str) -> str:
    accept = request.header("accept")
    found = _chosen(accept, usual)
    if found is None:
        shown = ", ".join(WRITTEN)
        raise NotAcceptable(f"{accept} is not written here; accept one of {shown}")
    return found


@lru_cache(maxsize=256)
def _chosen(accept: str, usual: str) -> str | None:
    offered = (usual, *(media for media in WRITTEN if media != usual))
    return negotiated(",".join(map(_usual_lines, accept.split(","))), offered)


def _usual_lines(part: str) -> str:
    kind, semicolon, parameters = part.partition(";")
    return LINES + semicolon + parameters if kind.strip().lower() in _ALSO_LINES else part


def _read(rules: FileRules, kind: str, body: bytes | memoryview, served: ServedModel) -> Tensors:
    if kind in PICTURES:
        return (decode_pictures(served.spec, [body], fit=rules.fit),)
    reader = _READERS.get(kind)
    if reader is None:
        known = ", ".join([*_READERS, *PICTURES, FORM])
        raise UnsupportedMedia(f"{kind} is not read here; send one of {known}")
    return reader(rules, bytes(body), served)


def _csv(_: FileRules, body: bytes, served: ServedModel) -> Tensors:
    if served.spec is not None:
        return (decode_csv(body, served.spec),)
    return checked(served, (decode_plain_csv(body, served.signature),))


def _lines(_: FileRules, body: bytes, served: ServedModel) -> Tensors:
    """One JSON value a line is one row."""
    if served.spec is None:
        return checked(served, decode_tensor_lines(body, served.signature))
    return (decode_lines(body, served.spec),)


def _json(rules: FileRules, body: bytes, served: ServedModel) -> Tensors:
    return ask_json(rules, Request(body=body), served).inputs


def _rows(rows: list[object], served: ServedModel) -> Tensors:
    if served.spec is None:
        return checked(served, tensors_of_rows(rows, served.signature))
    return (decode_every_row(served.spec, rows),)  # type: ignore[arg-type]  # it checks each row


def _npy(rules: FileRules, body: bytes, served: ServedModel) -> Tensors:
    return ask_npy(body, served, max_bytes=rules.max_bytes)


def _npz(rules: FileRules, body: bytes, served: ServedModel) -> Tensors:
    return ask_npz(body, served, max_bytes=rules.max_bytes)


_READERS: dict[str, Callable[[FileRules, bytes, ServedModel], Tensors]] = {
    JSON: _json,
    CSV: _csv,
    LINES: _lines,
    NPY: _npy,
    NPZ: _npz,
}


def _form(rules: FileRules, body: bytes, boundary: str | None, served: ServedModel) -> Tensors:
    """Pictures are a batch; one other file is read as what it is; fields are one row."""
    parts = decode_multipart(body, boundary)
    pictures = [part.content for part in parts if part.media in PICTURES]
    if pictures:
        return (decode_pictures(served.spec, pictures, fit=rules.fit),)
    files = [part for part in parts if part.filename]
    if len(files) > 1:
        raise Invalid(f"the form has {len(files)} files; several may only be pictures")
    if files:
        (file,) = files
        kind = file.media if is_file(file.media) or file.media == JSON else _by_name(file.filename)
        return _read(rules, kind, file.content, served)
    row = {part.name: bytes(part.content).decode("utf-8", "replace") for part in parts}
    return _rows([row], served)


def _by_name(filename: str) -> str:
    suffix = filename.rpartition(".")[2].lower()
    known = {"csv": CSV, "json": JSON, "jsonl": LINES, "npy": NPY, "npz": NPZ,
             "png": PICTURES[0], "jpg": PICTURES[1], "jpeg": PICTURES[1]}  # fmt: skip
    return known.get(suffix, suffix or "a file without a name")
