"""The list of an export's files: the evaluator writes it at promotion, inference reads it.

Every object of an export is named by its own digest, so an evaluator that runs twice, or two of
them, never meet on a key, and whoever knows the alias row's ``export`` can verify every byte.
"""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from rondo_core.errors import Invalid
from rondo_core.events import Name, Sha256
from rondo_core.model_store import export_key

__all__ = [
    "GOLDEN_FILE",
    "INDEX_FILE",
    "ONNX_FILE",
    "SAVED_MODEL_FOLDER",
    "TFLITE_FILE",
    "WEIGHTS_FILE",
    "ExportFile",
    "ExportIndex",
    "ExportInvalid",
    "Tolerance",
    "encode_export_index",
    "export_file",
    "export_file_key",
    "export_index_key",
    "format_of",
    "parse_export_index",
    "verified",
    "verify",
]

INDEX_FILE = "export.json"
ONNX_FILE = "model.onnx"
WEIGHTS_FILE = f"{ONNX_FILE}.data"
"""What of `ONNX_FILE` is kept apart, as ONNX calls external data; a small model has none."""
TFLITE_FILE = "model.tflite"
SAVED_MODEL_FOLDER = "saved_model"
GOLDEN_FILE = "golden.safetensors"
"""Written by `rondo_core.holdout.encode_holdout`: ``x`` is float32 (n, *input shape), as the model
takes it, ``y`` float32 (n, outputs), what Keras answered; n >= 1."""

FileName = Annotated[
    str,
    Meta(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*\Z", max_length=256),
]


class ExportInvalid(Invalid):
    """An export that breaks a rule: it must not be served, and reading it again does not help."""


class ExportFile(Struct, frozen=True, kw_only=True):
    """One object of the export.

    Attributes:
        sha256: of the whole content, lower-case hex.
        size: bytes.
    """

    sha256: Sha256
    size: Annotated[int, Meta(ge=0)]


class Tolerance(Struct, frozen=True, kw_only=True):
    """How far an output may be from the golden one: ``|a - b| <= absolute + relative * |b|``."""

    absolute: Annotated[float, Meta(ge=0, le=1)] = 1e-5
    relative: Annotated[float, Meta(ge=0, le=1)] = 1e-4


class ExportIndex(Struct, frozen=True, kw_only=True):
    """What an export consists of; its own digest is the alias row's ``export``.

    Attributes:
        format: raised when a reader of this version could not use the export: 2 has `WEIGHTS_FILE`.
        model: the model's name.
        spec: SHA-256 of the model spec, which says what the input and the outputs mean.
        weights: SHA-256 of the version's weights.
        input: name of the ONNX model's one input, float32 (n, *input shape).
        output: name of the ONNX model's one output, float32 (n, outputs).
        tolerance: how exactly a runtime has to reproduce the golden outputs.
        files: name -> digest and size; `ONNX_FILE` and `GOLDEN_FILE` are always among them.
    """

    format: Literal[1, 2] = 1
    model: Name
    spec: Sha256
    weights: Sha256
    input: Annotated[str, Meta(min_length=1)]
    output: Annotated[str, Meta(min_length=1)]
    tolerance: Tolerance = Tolerance()
    files: dict[FileName, ExportFile]


def format_of(names: Iterable[str]) -> Literal[1, 2]:
    """Return the format of an export of these files.

    Example:
        >>> format_of(["model.onnx", "model.onnx.data"])
        2
    """
    return 2 if WEIGHTS_FILE in names else 1


def export_file(data: bytes | memoryview) -> ExportFile:
    """Describe a file for the index.

    Example:
        >>> export_file(b"onnx").size
        4
    """
    return ExportFile(sha256=hashlib.sha256(data).hexdigest(), size=len(data))


def export_file_key(index: ExportIndex, name: str) -> str:
    """Return the store key of one of the export's files.

    Raises:
        ExportInvalid: the export has no such file.
    """
    file = _file(index.files, name)
    return export_key(index.weights, f"{file.sha256}/{name}")


def export_index_key(weights: str, export: str) -> str:
    """Return the store key of the index itself.

    Args:
        weights: SHA-256 of the version's weights (the alias row's ``sha256``).
        export: SHA-256 of the encoded index (the alias row's ``export``).
    """
    return export_key(weights, f"{export}/{INDEX_FILE}")


def encode_export_index(index: ExportIndex) -> bytes:
    """Return the canonical JSON (sorted keys, no spaces); its SHA-256 names the export."""
    return msgspec.json.encode(index, order="sorted")


def parse_export_index(data: bytes) -> ExportIndex:
    """Read an index.

    Raises:
        ExportInvalid: not such a document, or a file that every reader needs is not listed.

    Example:
        >>> parse_export_index(b"{}")
        Traceback (most recent call last):
        ...
        rondo_core.exports.ExportInvalid: export.json: Object missing required field `model`
    """
    try:
        index = msgspec.json.decode(data, type=ExportIndex)
    except msgspec.MsgspecError as exc:
        raise ExportInvalid(f"{INDEX_FILE}: {exc}") from exc
    for name in (ONNX_FILE, GOLDEN_FILE):
        _file(index.files, name)
    return index


def verified(data: bytes, *, name: str, sha256: str) -> bytes:
    """Return ``data`` (not copied) if it has the digest that was promised.

    Raises:
        ExportInvalid: it has another one.
    """
    verify(export_file(data), name=name, sha256=sha256)
    return data


def verify(found: ExportFile, *, name: str, sha256: str) -> None:
    """Compare what a file is with what was promised.

    Raises:
        ExportInvalid: it has another digest.
    """
    if found.sha256 != sha256:
        raise ExportInvalid(
            f"{name}: {found.size} bytes with SHA-256 {found.sha256}, promised was {sha256}"
        )


def _file(files: Mapping[str, ExportFile], name: str) -> ExportFile:
    file = files.get(name)
    if file is None:
        raise ExportInvalid(f"{INDEX_FILE}: no file {name!r} among {sorted(files)}")
    return file
