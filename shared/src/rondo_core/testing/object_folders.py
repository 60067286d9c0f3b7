"""Folders of the bucket in memory."""

from collections.abc import Iterable, Iterator

from rondo_core.model_store import AlreadyExists
from rondo_core.object_folders import ListedObject
from rondo_core.testing.model_store import MemoryModelStore

__all__ = ["MemoryObjectFolders"]


class MemoryObjectFolders:
    """``ObjectFolders`` of a ``MemoryModelStore``."""

    def __init__(self, store: MemoryModelStore) -> None:
        self._store = store

    def list(self, folder: str) -> Iterator[ListedObject]:
        """Yield the objects of a folder, as they are when it is asked for."""
        for key in self._store.keys(folder):
            info = self._store.head(key)
            if info is not None:
                yield ListedObject(key, info.size)

    def write(self, key: str, blocks: Iterable[bytes]) -> int:
        """Create an object of blocks; an existing one of the right size is a success."""
        content = b"".join(blocks)
        info = self._store.head(key)
        if info is None:
            return self._store.put(key, content).size
        if info.size != len(content):
            raise AlreadyExists(key, same=False)
        return info.size

    def remove(self, folder: str) -> int:
        """Remove the objects of a folder."""
        if not folder.endswith("/"):
            raise ValueError(f"{folder!r} is not a folder: it does not end with a slash")
        return sum(self._store.forget(key) for key in self._store.keys(folder))
