"""The versions that a worker's process has loaded: few, since jobs pin theirs."""

from collections import OrderedDict

from rondo_core.exports import verified
from rondo_core.model_rows import AliasRow
from rondo_core.model_spec import ModelSpec, parse_model_spec
from rondo_core.model_store import ModelStore, spec_key
from rondo_inference.domain.batch_records import DecodePictures
from rondo_inference.engines.engine import Engine
from rondo_inference.engines.runtimes import Engines
from rondo_inference.registry.loader import proved_version, read_version

__all__ = ["StoredModels"]


class StoredModels:
    """``Models`` of the store. Used by one thread.

    Args:
        store: the bucket.
        engines: what may compute.
        pictures: reads picture files.
        most: versions that are kept; the one that was not asked for the longest goes first.
    """

    def __init__(
        self,
        store: ModelStore,
        *,
        engines: Engines,
        pictures: DecodePictures,
        most: int = 2,
    ) -> None:
        self._store = store
        self._open = engines
        self._pictures = pictures
        self._most = most
        self._specs: dict[str, ModelSpec] = {}
        self._engines: OrderedDict[str, Engine] = OrderedDict()

    @property
    def pictures(self) -> DecodePictures:
        """See ``Models``."""
        return self._pictures

    def spec(self, alias: AliasRow) -> ModelSpec:
        """Return a spec; specs are small and all kept."""
        if alias.spec not in self._specs:
            data = self._store.get(spec_key(alias.spec))
            found = parse_model_spec(verified(data, name="model spec", sha256=alias.spec))
            self._specs[alias.spec] = found
        return self._specs[alias.spec]

    def engine(self, alias: AliasRow) -> Engine:
        """Return an engine, loaded, checked against its golden outputs and warm."""
        if alias.export not in self._engines:
            files = read_version(alias, store=self._store)
            self._engines[alias.export] = proved_version(alias, files, self._open).engine
            if len(self._engines) > self._most:
                self._engines.popitem(last=False)
        self._engines.move_to_end(alias.export)
        return self._engines[alias.export]
