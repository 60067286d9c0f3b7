"""The files of a version in a folder; docs/serving.md describes them."""

import contextlib
from pathlib import Path

from rondo_core.errors import Invalid, NotFound
from rondo_core.exports import (
    GOLDEN_FILE,
    INDEX_FILE,
    ONNX_FILE,
    ExportInvalid,
    parse_export_index,
    verified,
)
from rondo_core.model_rows import AliasRow
from rondo_core.model_spec import parse_model_spec
from rondo_inference.registry.loader import OpenBatcher, OpenEngine, VersionFiles, open_version
from rondo_inference.registry.served import ServedModel

__all__ = ["SPEC_FILE", "load_folder", "read_file", "read_folder"]

SPEC_FILE = "spec.json"
LARGEST_FILE_BYTES = 2 * 1024**3
"""ONNX itself ends here."""


def load_folder(
    alias: AliasRow, *, folder: Path, open_engine: OpenEngine, open_batcher: OpenBatcher
) -> ServedModel:
    """Load a version from its folder. Blocks; safe to repeat.

    Raises:
        NotFound: there is no model.
        Invalid: a file is malformed, missing beside its companion, not the one that the index
            lists, or the model computes something else than its golden outputs.
    """
    files = read_folder(folder)
    return open_version(alias, files, open_engine=open_engine, open_batcher=open_batcher)


def read_folder(folder: Path) -> VersionFiles:
    """Read the files of a version; see `load_folder` for what is raised."""
    onnx = read_file(folder, ONNX_FILE)
    if onnx is None:
        raise NotFound(f"{folder / ONNX_FILE} does not exist")
    index_data, spec = read_file(folder, INDEX_FILE), read_file(folder, SPEC_FILE)
    if index_data is None and spec is None:
        return VersionFiles(onnx)
    if index_data is None or spec is None:  # half of a copy that goes on, and nothing to verify by
        missing = INDEX_FILE if index_data is None else SPEC_FILE
        raise ExportInvalid(f"{folder / missing} does not exist, and belongs to the other")
    index = parse_export_index(index_data)
    golden = read_file(folder, GOLDEN_FILE)
    if golden is None:
        raise ExportInvalid(f"{folder / GOLDEN_FILE} does not exist")
    for name, data in ((ONNX_FILE, onnx), (GOLDEN_FILE, golden)):
        verified(data, name=name, sha256=index.files[name].sha256)
    verified(spec, name=SPEC_FILE, sha256=index.spec)
    return VersionFiles(onnx, parse_model_spec(spec), index, golden)


def read_file(folder: Path, name: str) -> bytes | None:
    """Return the content of a file, or None where there is none.

    Raises:
        Invalid: it is too long.
    """
    file = folder / name
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        if file.stat().st_size > LARGEST_FILE_BYTES:
            raise Invalid(f"{file} is longer than {LARGEST_FILE_BYTES} bytes")
        return file.read_bytes()
    return None
