"""What a batch job is given: a file, or a folder of pictures, with types, digests and names."""

import hashlib
from functools import partial
from pathlib import Path

from rondo_core.errors import Invalid

__all__ = ["TYPES", "check_outputs", "described", "digest_of", "failures_of", "safe_name"]

TYPES = {
    ".csv": "text/csv",
    ".jsonl": "application/jsonlines",
    ".ndjson": "application/jsonlines",
    ".npy": "application/x-npy",
}
"""Suffix -> content type, of files that have many records."""

_BLOCK_BYTES = 1024 * 1024
_PICTURES = (".png", ".jpg", ".jpeg")


def described(source: Path) -> tuple[dict[Path, str], str]:
    """Return each file with its SHA-256, in the order of the records, and their content type.

    Raises:
        Invalid: the file is of another kind, or the folder has no picture.
    """
    if source.is_dir():
        paths = sorted(path for path in source.iterdir() if path.suffix.lower() in _PICTURES)
        if not paths:
            raise Invalid(f"{source} has no file that ends in {', '.join(_PICTURES)}")
        return {path: _sha256(path) for path in paths}, "image/png"
    kind = TYPES.get(source.suffix.lower())
    if kind is None:
        raise Invalid(f"{source}: {source.suffix or 'no suffix'} is not one of {', '.join(TYPES)}")
    return {source: _sha256(source)}, kind


def failures_of(target: Path) -> Path:
    """Return the file that lists what did not fit, beside the output."""
    return target.with_name(f"{target.name}.failures.jsonl")


def check_outputs(source: Path, target: Path, *, overwrite: bool) -> None:
    """Check that nothing is lost by writing the output, and the list beside it.

    Raises:
        Invalid: one of them is the input, or exists and may not be overwritten.
    """
    for path in (target, failures_of(target)):
        if not path.exists():
            continue
        if path.samefile(source):
            raise Invalid(f"{path} is the input: name another file for the output")
        if not overwrite:
            raise Invalid(f"{path} exists: name another file, remove it, or say --overwrite")


def safe_name(at: int, path: Path) -> str:
    """Return the name of the ``at``-th file, as a key of the store may have it."""
    plain = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in path.name)
    return plain if plain[:1].isalnum() else f"{at:06d}{plain}"


def digest_of(files: dict[Path, str]) -> str:
    """Return what tells these files, by name and content, from all others."""
    told = "".join(f"{path.name} {sha256}\n" for path, sha256 in files.items())
    return hashlib.sha256(told.encode()).hexdigest()


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for block in iter(partial(file.read, _BLOCK_BYTES), b""):
            digest.update(block)
    return digest.hexdigest()
