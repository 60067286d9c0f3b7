"""The files of a version in a folder; docs/serving.md describes them."""

import contextlib
import hashlib
from functools import partial
from pathlib import Path

from rondo_core.errors import Invalid, NotFound
from rondo_core.exports import (
    GOLDEN_FILE,
    INDEX_FILE,
    ONNX_FILE,
    WEIGHTS_FILE,
    ExportFile,
    ExportIndex,
    ExportInvalid,
    parse_export_index,
    verified,
    verify,
)
from rondo_core.model_rows import AliasRow
from rondo_core.model_spec import parse_model_spec
from rondo_inference.engines.runtimes import Engines
from rondo_inference.registry.loader import OpenBatcher, open_version
from rondo_inference.registry.proving import VersionFiles
from rondo_inference.registry.served import ServedModel

__all__ = ["SPEC_FILE", "load_folder", "read_file", "read_folder"]

SPEC_FILE = "spec.json"
LARGEST_FILE_BYTES = 2 * 1024**3
"""Of a file that is read whole; those that engines read may be longer."""
PIECE_BYTES = 128 * 1024
"""What is copied at a time: little enough for a processor's cache."""


def load_folder(
    alias: AliasRow, *, folder: Path, engines: Engines, open_batcher: OpenBatcher
) -> ServedModel:
    """Load a version from its folder. Blocks; safe to repeat.

    Raises:
        NotFound: there is no model.
        Invalid: a file is malformed, missing beside its companion, not the one that the index
            lists, or the model computes something else than its golden outputs.
    """
    files = read_folder(folder)
    return open_version(alias, files, engines=engines, open_batcher=open_batcher)


def read_folder(folder: Path) -> VersionFiles:
    """Read what tells of a version; engines read the models. Raises as `load_folder` does."""
    if not (folder / ONNX_FILE).exists():
        raise NotFound(f"{ONNX_FILE} does not exist")
    index_data, spec = read_file(folder, INDEX_FILE), read_file(folder, SPEC_FILE)
    if index_data is None and spec is None:
        names = tuple(name for name in (ONNX_FILE, WEIGHTS_FILE) if (folder / name).exists())
        return VersionFiles(names, partial(_copy_unlisted, folder))
    if index_data is None or spec is None:  # half of a copy that goes on, and nothing to verify by
        found, missing = (SPEC_FILE, INDEX_FILE) if index_data is None else (INDEX_FILE, SPEC_FILE)
        raise ExportInvalid(f"{missing} does not exist, though {found} does: they go together")
    index = parse_export_index(index_data)
    verified(spec, name=SPEC_FILE, sha256=index.spec)
    golden = read_file(folder, GOLDEN_FILE)
    if golden is None:
        raise ExportInvalid(f"{GOLDEN_FILE} does not exist")
    verified(golden, name=GOLDEN_FILE, sha256=index.files[GOLDEN_FILE].sha256)
    save = partial(_copy_verified, folder, index)
    return VersionFiles(tuple(index.files), save, parse_model_spec(spec), index, golden)


def _copy_unlisted(folder: Path, name: str, target: Path) -> None:
    _copy(folder, name, target)


def _copy_verified(folder: Path, index: ExportIndex, name: str, target: Path) -> None:
    verify(_copy(folder, name, target), name=name, sha256=index.files[name].sha256)


def _copy(folder: Path, name: str, target: Path) -> ExportFile:
    """Copy a file piece by piece, and return what was copied."""
    digest, size = hashlib.sha256(), 0
    piece = memoryview(bytearray(PIECE_BYTES))
    try:
        source = (folder / name).open("rb", buffering=0)
    except (FileNotFoundError, NotADirectoryError):
        raise ExportInvalid(f"{name} does not exist") from None
    with source, target.open("wb") as copy:
        while count := source.readinto(piece):
            digest.update(piece[:count])
            copy.write(piece[:count])
            size += count
    return ExportFile(sha256=digest.hexdigest(), size=size)


def read_file(folder: Path, name: str) -> bytes | None:
    """Return the content of a file, or None where there is none.

    Raises:
        Invalid: it is too long.
    """
    file = folder / name
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        if file.stat().st_size > LARGEST_FILE_BYTES:
            raise Invalid(f"{name} is longer than {LARGEST_FILE_BYTES} bytes")
        return file.read_bytes()
    return None
