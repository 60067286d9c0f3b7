"""Every media type that rows come in and predictions go out by, for all routes that take files.

JSON in gives TF Serving's JSON; everything else in gives JSON that needs no table of labels.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import cast

from msgspec.structs import replace

from rondo_core.input_schema import ImageInput
from rondo_inference.checks import checked
from rondo_inference.contracts.arrays import ask_npy, ask_npz
from rondo_inference.contracts.encoded import encoded_files
from rondo_inference.contracts.kinds import FORM, PACKED, Content, kind_of, of_form, usual_name
from rondo_inference.contracts.messages import (
    CSV,
    JSON,
    Answer,
    NotAcceptable,
    Question,
    Request,
    UnsupportedMedia,
)
from rondo_inference.contracts.pictures import PICTURES, Fit, decode_pictures
from rondo_inference.contracts.writers import LINES, NPY, NPZ, WRITTEN, as_tensors, writer
from rondo_inference.domain.csv_rows import decode_csv, decode_plain_csv, ignored_columns
from rondo_inference.domain.json_lines import decode_lines, decode_tensor_lines
from rondo_inference.domain.multipart import decode_multipart
from rondo_inference.domain.negotiation import media_parameter, negotiated
from rondo_inference.domain.predict_body import SIGNATURE, decode_predict_body
from rondo_inference.domain.row_faults import decode_every_row
from rondo_inference.domain.tensor_bodies import (
    decode_tensors_body,
    tensors_of_rows,
)
from rondo_inference.domain.tensors import Tensors
from rondo_inference.domain.told import ignored
from rondo_inference.registry.served import ServedModel

__all__ = ["FileRules", "ask_file", "ask_json", "ask_media", "file_question", "unpacks", "wanted"]

_MARK = "\N{BYTE ORDER MARK}".encode()


@dataclass(frozen=True, slots=True)
class FileRules:
    """What files may be.

    Attributes:
        max_bytes: of an archive, when unpacked.
        fit: what happens to a picture of another size.
    """

    max_bytes: int = 25 * 1024 * 1024
    fit: Fit = "refuse"


def unpacks(request: Request, *, in_json: bool) -> bool:
    """Whether a short body may become a large one: an archive, or pictures.

    Args:
        request: with its body.
        in_json: whether JSON may hold pictures.
    """
    return kind_of(request) in PACKED or (in_json and _has_base64(request.body))


def _has_base64(body: bytes) -> bool:
    """Whether pictures may be in it; numbers have no letter b, which is looked for faster."""
    return b"b" in body and b'"b64"' in body


def ask_media(rules: FileRules, request: Request, served: ServedModel) -> Question:
    """Read a body of any type; the answer is of the type that the caller accepts.

    Raises:
        UnsupportedMedia: the body is of another type.
        NotAcceptable: no type that we write is accepted.
        Invalid: the body breaks a rule.
    """
    kind = kind_of(request) or JSON
    if kind == JSON:
        return ask_json(rules, request, served)
    return ask_file(rules, request, served)


def ask_json(rules: FileRules, request: Request, served: ServedModel) -> Question:
    """Read TF Serving's JSON."""
    chosen, body = wanted(request.header("accept"), WRITTEN), request.body.removeprefix(_MARK)
    if served.spec is None:
        inputs, by_column = decode_tensors_body(body, served.signature, SIGNATURE)
        inputs = checked(served, inputs)
    elif _has_base64(body) and isinstance(served.spec.input, ImageInput):
        files = encoded_files(body)
        inputs, by_column = (decode_pictures(served.spec, files, fit=rules.fit),), False
    else:
        instances = decode_predict_body(body, served.spec)
        inputs, by_column = (instances.inputs,), instances.by_column
    if chosen == JSON:
        return Question.of(served, inputs, partial(as_tensors, served, by_column=by_column))
    return Question.of(served, inputs, writer(served, chosen))


def ask_file(rules: FileRules, request: Request, served: ServedModel) -> Question:
    """Read a file of rows, arrays or pictures, or a form of them."""
    kind = kind_of(request)
    usual = kind if kind in WRITTEN else JSON
    chosen = wanted(request.header("accept"), WRITTEN, usual=usual)
    return file_question(rules, request, served, writer(served, chosen))


def file_question(
    rules: FileRules, request: Request, served: ServedModel, answer: Callable[[Tensors], Answer]
) -> Question:
    """Read what `ask_file` reads; columns that the model does not have are told of.

    Raises:
        UnsupportedMedia: the body is of another type.
        Invalid: the body breaks a rule.
    """
    kind, body = kind_of(request), cast("Content", request.body)
    if kind == FORM:
        boundary = media_parameter(request.header("content-type"), "boundary")
        kind, body = of_form(decode_multipart(request.body, boundary))
    question = Question.of(served, _content(rules, kind, body, served), answer)
    if kind != CSV or served.spec is None:
        return question
    others = ignored_columns(bytes(cast("bytes", body)), served.spec)
    return replace(question, beyond=(*ignored(others), *question.beyond))


def wanted(accept: str, offered: tuple[str, ...], *, usual: str = JSON) -> str:
    """Return the type that the caller accepts, of those that are written.

    Args:
        accept: the header; empty accepts everything.
        offered: what is written.
        usual: the one of them for who accepts several.

    Raises:
        NotAcceptable: none of them.
    """
    found = _chosen(accept, offered, usual)
    if found is None:
        raise NotAcceptable(f"{accept} is not written here; accept one of {', '.join(offered)}")
    return found


@lru_cache(maxsize=256)
def _chosen(accept: str, offered: tuple[str, ...], usual: str) -> str | None:
    first = (usual, *(media for media in offered if media != usual))
    return negotiated(",".join(map(_usual_part, accept.split(","))), first)


def _usual_part(part: str) -> str:
    kind, semicolon, parameters = part.partition(";")
    return usual_name(kind.strip().lower()) + semicolon + parameters


def _content(rules: FileRules, kind: str, body: Content, served: ServedModel) -> Tensors:
    if isinstance(body, dict):
        return _row(body, served)
    if isinstance(body, list):
        return (decode_pictures(served.spec, body, fit=rules.fit),)
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


def _row(fields: dict[str, str], served: ServedModel) -> Tensors:
    if served.spec is None:
        return checked(served, tensors_of_rows([fields], served.signature))
    return (decode_every_row(served.spec, [fields]),)


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
