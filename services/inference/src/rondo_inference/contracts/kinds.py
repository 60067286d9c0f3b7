"""What a body is by its content type, and what a form holds."""

from collections.abc import Sequence
from functools import lru_cache

from rondo_core.errors import Invalid
from rondo_inference.contracts.messages import CSV, JSON, Request
from rondo_inference.contracts.pictures import PICTURES
from rondo_inference.contracts.writers import LINES, NPY, NPZ
from rondo_inference.domain.multipart import Part
from rondo_inference.domain.negotiation import media_type

__all__ = ["FORM", "PACKED", "Content", "kind_of", "of_form", "sends_file", "usual_name"]

FORM = "multipart/form-data"
PACKED = {NPZ, FORM, *PICTURES}
"""Of these a short body may become a large one."""

Content = bytes | memoryview | list[memoryview] | dict[str, str]
"""A body, pictures, or one row."""

_OTHER_NAMES = {
    **dict.fromkeys(
        (
            "application/jsons",
            "application/x-jsonlines",
            "application/x-ndjson",
            "application/jsonl",
        ),
        LINES,
    ),
    "image/jpg": "image/jpeg",
}
_FILES = {CSV, NPY, LINES, *PACKED, *_OTHER_NAMES}
_NEVER_JSON = (
    "application/pdf",
    "application/vnd.ms-excel",
    "application/vnd.oasis",
    "application/vnd.openxmlformats",
    "application/zip",
    "audio/",
    "image/",
    "video/",
)
_SUFFIXES = {
    "csv": CSV,
    "jpeg": "image/jpeg",
    "jpg": "image/jpeg",
    "json": JSON,
    "jsonl": LINES,
    "npy": NPY,
    "npz": NPZ,
    "png": "image/png",
}


def _is_file_type(kind: str) -> bool:
    return kind in _FILES or kind.startswith(_NEVER_JSON)


def usual_name(kind: str) -> str:
    """Return the one name by which we know a media type that has several."""
    return _OTHER_NAMES.get(kind, kind)


def kind_of(request: Request) -> str:
    """Return the media type of a body; empty: none is said."""
    return _kind(request.headers.get("content-type", ""))


def sends_file(request: Request) -> bool:
    """Whether a body is of a type that no route takes for JSON, also if none reads it."""
    return _is_file(request.headers.get("content-type", ""))


@lru_cache(maxsize=256)
def _kind(header: str) -> str:
    return usual_name(media_type(header))


@lru_cache(maxsize=256)
def _is_file(header: str) -> bool:
    return _is_file_type(_kind(header))


def of_form(parts: Sequence[Part]) -> tuple[str, Content]:
    """Return what a form holds: pictures, one file of another kind, or the fields of a row.

    Raises:
        Invalid: several of these, of which all but one would be passed over.
    """
    files = [part for part in parts if part.filename or part.media in PICTURES]
    if not files:
        return FORM, {part.name: bytes(part.content).decode("utf-8", "replace") for part in parts}
    if len(files) < len(parts):
        other = next(part.name for part in parts if part not in files)
        raise Invalid(f"the form has a file and the field {other!r}; send files, or one row")
    kinds = [_kind_of_part(part) for part in files]
    if all(kind in PICTURES for kind in kinds):
        return kinds[0], [part.content for part in files]
    if len(files) > 1:
        at = next(at for at, kind in enumerate(kinds) if kind not in PICTURES)
        raise Invalid(
            f"the form has {len(files)} files; several may only be pictures, "
            f"and {files[at].filename!r} is none"
        )
    return kinds[0], files[0].content


def _kind_of_part(part: Part) -> str:
    kind = usual_name(part.media)
    if _is_file_type(kind) or kind == JSON:
        return kind
    suffix = part.filename.rpartition(".")[2].lower()
    return _SUFFIXES.get(suffix, suffix or "a file without a name")
