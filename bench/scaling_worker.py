"""One worker that makes its share of a round's partials; `bench.scaling` starts them.

It runs what the task of a shard runs (`write_partial`), over a folder in the place of the bucket:
every range is read from a file into memory, as it would come from the store.

``python -m bench.scaling_worker FOLDER STRATEGY CLIENTS SHARE/SHARES``
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import rondo_aggregator.tasks  # noqa: F401 - a worker has all of the program in memory
from bench.peers.measuring import measured, report
from bench.together import await_the_others
from rondo_aggregator.adapters.file_objects import FileCache, FileObjects
from rondo_aggregator.adapters.own_strategies import installed_strategy
from rondo_aggregator.domain.shards import split
from rondo_aggregator.handlers.partials import write_partial
from rondo_aggregator.handlers.reading import Source
from rondo_aggregator.settings import AggregatorSettings
from rondo_aggregator.strategies.kernels import warm
from rondo_core.errors import NotFound
from rondo_core.manifest import Manifest, ManifestEntry
from rondo_core.model_store import ObjectInfo
from rondo_core.weights import layout_of_file

HEADER_BYTES = 1024 * 1024


class FolderModelStore:
    """A folder as a bucket: a `ModelStore` of one process at a time, without versions."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, key: str, data: bytes | memoryview) -> ObjectInfo:
        """Write a file."""
        path = self._folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return ObjectInfo(size=len(data), sha256=None, version="")

    def get(
        self, key: str, *, start: int = 0, stop: int | None = None, version: str | None = None
    ) -> bytes:
        """Read a range of a file."""
        del version
        with (self._folder / key).open("rb", buffering=0) as file:
            file.seek(start)
            return file.read(-1 if stop is None else stop - start)

    def head(self, key: str) -> ObjectInfo | None:
        """Return a file's size."""
        path = self._folder / key
        return ObjectInfo(path.stat().st_size, None, "") if path.exists() else None

    def assemble(self, key: str, head: bytes, parts: Sequence[str]) -> ObjectInfo:
        """Join files."""
        missing = [part for part in parts if self.head(part) is None]
        if missing:
            raise NotFound(f"there is no object {missing[0]}")
        return self.put(key, b"".join([head, *(self.get(part) for part in parts)]))


def source_of(store: FolderModelStore, folder: Path, strategy: str, clients: int) -> Source:
    """Return a sealed round; where there are more clients than files, again from the first."""
    files = sorted((folder / "updates").iterdir())
    (base,) = (folder / "versions").iterdir()
    layout = layout_of_file(store.get(f"updates/{files[0].name}", stop=HEADER_BYTES))
    names = [files[client % len(files)].name for client in range(clients)]
    updates = [
        ManifestEntry(
            client_id=f"{client:04}",
            sha256=name,
            examples=client + 1,
            key=f"updates/{name}",
            object_version="",
        )
        for client, name in enumerate(names)
    ]
    manifest = Manifest(
        run_id="bench",
        round=1,
        attempt=1,
        base=base.name,
        layout=layout.digest,
        strategy=strategy,
        updates=tuple(updates),
    )
    return Source("bench", manifest, layout, installed_strategy(strategy, {}))


def main() -> None:
    """Say when it is ready, begin when told, and report."""
    folder, strategy, clients = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    share, shares = map(int, sys.argv[4].split("/"))
    store = FolderModelStore(folder)
    cache = folder / f"cache-{share}"
    cache.mkdir(exist_ok=True)
    objects = FileObjects(store, FileCache(cache, max_bytes=AggregatorSettings.cache_bytes))
    source = source_of(store, folder, strategy, clients)
    shards = split(source.layout.size, AggregatorSettings.shard_columns)[share::shares]
    warm()

    def work() -> None:
        for shard in shards:
            write_partial(source, shard, objects)

    await_the_others()
    report(measured(work, repeats=1, warm_up=False))


if __name__ == "__main__":
    main()
