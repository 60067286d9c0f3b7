"""The files of a version in a folder; docs/serving.md describes them."""

import contextlib
from functools import partial
from pathlib import Path

from rondo_core.errors import Invalid, NotFound
from rondo_core.exports import (
    GOLDEN_FILE,
    INDEX_FILE,
    ONNX_FILE,
    ExportIndex,
    ExportInvalid,
    parse_export_index,
    verified,
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
"""ONNX itself ends here."""


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
        return VersionFiles(partial(_existing, folder))
    if index_data is None or spec is None:  # half of a copy that goes on, and nothing to verify by
        found, missing = (SPEC_FILE, INDEX_FILE) if index_data is None else (INDEX_FILE, SPEC_FILE)
        raise ExportInvalid(f"{missing} does not exist, though {found} does: they go together")
    index = parse_export_index(index_data)
    verified(spec, name=SPEC_FILE, sha256=index.spec)
    golden = _verified(folder, index, GOLDEN_FILE)
    return VersionFiles(partial(_verified, folder, index), parse_model_spec(spec), index, golden)


def _verified(folder: Path, index: ExportIndex, name: str) -> bytes:
    return verified(_existing(folder, name), name=name, sha256=index.files[name].sha256)


def _existing(folder: Path, name: str) -> bytes:
    data = read_file(folder, name)
    if data is None:
        raise ExportInvalid(f"{name} does not exist")
    return data


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
