"""From an alias to a version that is verified, warm and proved to compute as Keras did."""

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Protocol

from rondo_core.exports import (
    GOLDEN_FILE,
    INDEX_FILE,
    ExportIndex,
    ExportInvalid,
    export_file_key,
    export_index_key,
    parse_export_index,
    verified,
)
from rondo_core.model_rows import AliasRow
from rondo_core.model_spec import ModelSpec, parse_model_spec
from rondo_core.model_store import ModelStore, spec_key
from rondo_inference.batcher import Batcher
from rondo_inference.engines.engine import Engine
from rondo_inference.engines.runtimes import Engines
from rondo_inference.registry.heap import give_back
from rondo_inference.registry.proving import Proved, VersionFiles, proved_engine
from rondo_inference.registry.served import ServedModel

__all__ = ["Load", "OpenBatcher", "load_version", "open_version", "proved_version", "read_version"]

log = logging.getLogger(__name__)

OpenBatcher = Callable[[AliasRow, Engine, float], Batcher]
"""Makes the batcher of a version: its alias, its engine, the seconds that one row takes."""


class Load(Protocol):
    """Loads a version from wherever it is kept; see ``load_version`` and ``load_folder``."""

    def __call__(
        self, alias: AliasRow, *, engines: Engines, open_batcher: OpenBatcher
    ) -> ServedModel:
        """Return it."""
        ...


def load_version(
    alias: AliasRow, *, store: ModelStore, engines: Engines, open_batcher: OpenBatcher
) -> ServedModel:
    """Load the version that an alias names from the store. Blocks; safe to repeat.

    Raises:
        NotFound: an object is missing.
        Invalid: an object has another digest, is malformed, does not belong to the alias, or
            computes something else than its golden outputs.
        Unavailable: the store did not answer.
    """
    files = read_version(alias, store=store)
    return open_version(alias, files, engines=engines, open_batcher=open_batcher)


def read_version(alias: AliasRow, *, store: ModelStore) -> VersionFiles:
    """Read what tells of the version that an alias names; engines read the models. Blocks.

    Raises:
        NotFound: an object is missing.
        Invalid: an object has another digest, is malformed or does not belong to the alias.
        Unavailable: the store did not answer.
    """
    index = _read_index(alias, store)
    return VersionFiles(
        tuple(index.files),
        partial(_save_file, index, store),
        spec=_read_spec(alias, store),
        index=index,
        golden=_read_file(index, store, GOLDEN_FILE),
    )


def open_version(
    alias: AliasRow, files: VersionFiles, *, engines: Engines, open_batcher: OpenBatcher
) -> ServedModel:
    """Open, check and warm a version.

    Raises:
        Invalid: it is malformed, or computes something else than its golden outputs.
    """
    proved = proved_version(alias, files, engines)
    batcher = open_batcher(alias, proved.engine, proved.row_seconds)
    return ServedModel(alias, files.spec, proved.engine, batcher, proved.choice)


def proved_version(alias: AliasRow, files: VersionFiles, engines: Engines) -> Proved:
    """Open and check the engines of a version, and log which was taken; see `proved_engine`."""
    proved = proved_engine(files, engines)
    about = {"model": alias.model, "version": alias.model_version}
    for name, reason in proved.choice.dropped.items():
        log.warning("engine dropped", extra={**about, "engine": name, "reason": reason})
    if sum(bool(runtime.files(files.names)) for runtime in engines.runtimes) > 1:
        give_back()  # of engines that lost or were dropped, before the version's size is measured
    if proved.seconds:
        chosen = {str(rows): name for rows, name in proved.choice.by_rows}
        seconds = {str(rows): dict(found) for rows, found in proved.seconds.items()}
        log.info("engines chosen", extra={**about, "up_to_rows": chosen, "seconds": seconds})
    return proved


def _read_index(alias: AliasRow, store: ModelStore) -> ExportIndex:
    data = store.get(export_index_key(alias.sha256, alias.export))
    index = parse_export_index(verified(data, name=INDEX_FILE, sha256=alias.export))
    promised = (alias.model, alias.spec, alias.sha256)
    found = (index.model, index.spec, index.weights)
    if found != promised:
        raise ExportInvalid(f"{INDEX_FILE}: it is of {found}, but the alias names {promised}")
    return index


def _read_spec(alias: AliasRow, store: ModelStore) -> ModelSpec:
    data = store.get(spec_key(alias.spec))
    return parse_model_spec(verified(data, name="model spec", sha256=alias.spec))


def _save_file(index: ExportIndex, store: ModelStore, name: str, target: Path) -> None:
    target.write_bytes(_read_file(index, store, name))


def _read_file(index: ExportIndex, store: ModelStore, name: str) -> bytes:
    return verified(
        store.get(export_file_key(index, name)), name=name, sha256=index.files[name].sha256
    )
