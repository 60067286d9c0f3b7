"""The store with local files of what was read or written: nothing is fetched twice."""

import hashlib
import mmap
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from rondo_core.errors import Unavailable
from rondo_core.model_store import ModelStore, ObjectInfo

__all__ = ["FileCache", "FileObjects"]

_BLOCK_BYTES = 32 * 1024 * 1024


class FileCache:
    """Bytes by name in files of one folder, shared by all processes that know the folder.

    What a name stands for never changes. Files that were not read for longest go first when the
    folder is full; a view of one that went stays valid. Safe to use from several processes.

    Args:
        folder: exists and is this program's alone, since what lies there is believed.
        max_bytes: of all files together; one that is larger by itself is kept until the next.
    """

    def __init__(self, folder: Path, *, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes

    def get(self, name: str) -> memoryview | None:
        """Return a read-only view of a file, or None when it is not there."""
        path = self._path(name)
        try:
            with path.open("rb") as file:
                view = _map(file.fileno())
            os.utime(path)
        except FileNotFoundError:
            return None
        return view

    def put(self, name: str, blocks: Iterable[bytes]) -> memoryview:
        """Write a file from blocks, all of it or none, and return a read-only view of it."""
        number, temporary = tempfile.mkstemp(dir=self._folder, prefix="new-")
        try:
            with os.fdopen(number, "r+b") as file:
                for block in blocks:
                    file.write(block)
                file.flush()
                view = _map(number)
            Path(temporary).replace(self._path(name))
        except BaseException:
            Path(temporary).unlink()
            raise
        self._evict(self._path(name))
        return view

    def _path(self, name: str) -> Path:
        return self._folder / hashlib.sha256(name.encode()).hexdigest()

    def _evict(self, newest: Path) -> None:
        files = []
        for entry in os.scandir(self._folder):
            with suppress(FileNotFoundError):  # another process was faster
                status = entry.stat()
                files.append((status.st_mtime_ns, status.st_size, Path(entry.path)))
        total = sum(size for _, size, _ in files)
        for _, size, path in sorted(files):
            if total <= self._max_bytes:
                return
            if path != newest and not path.name.startswith("new-"):
                path.unlink(missing_ok=True)
                total -= size


def _map(number: int) -> memoryview:
    """Map an open file into memory; the mapping outlives the file's name."""
    if os.fstat(number).st_size == 0:
        return memoryview(b"")
    return memoryview(mmap.mmap(number, 0, access=mmap.ACCESS_READ))


class FileObjects:
    """`Objects` over a ``ModelStore``: what is pinned never changes, so that files may be kept."""

    def __init__(self, models: ModelStore, cache: FileCache) -> None:
        self._models = models
        self._cache = cache

    def head(self, key: str) -> ObjectInfo | None:
        """Ask the store; nothing is remembered."""
        return self._models.head(key)

    def whole(
        self, key: str, *, size: int, version: str | None = None, sha256: str | None = None
    ) -> memoryview:
        """Return an object as a mapped file, fetched in blocks and checked the first time."""
        name = _name(key, version)
        held = self._cache.get(name)
        if held is not None:
            return held
        blocks = self._blocks(key, 0, size, version)
        return self._cache.put(name, blocks if sha256 is None else _checked(blocks, key, sha256))

    def part(self, key: str, start: int, stop: int, version: str | None = None) -> memoryview:
        """Return a range of an object, of its mapped file where there is one."""
        held = self._cache.get(_name(key, version))
        if held is not None:
            return held[start:stop]
        name = f"{_name(key, version)} {start}-{stop}"
        held = self._cache.get(name)
        if held is not None:
            return held
        return self._cache.put(name, self._blocks(key, start, stop, version))

    def passing(self, key: str, start: int, stop: int, version: str | None = None) -> memoryview:
        """Return a range of an object's mapped file, or fetch it into memory."""
        held = self._cache.get(_name(key, version))
        if held is not None:
            return held[start:stop]
        return memoryview(self._models.get(key, start=start, stop=stop, version=version))

    def put(self, key: str, data: bytes) -> ObjectInfo:
        """Create an object, and keep it once the store has it."""
        info = self._models.put(key, data)
        self._cache.put(_name(key, None), [data])
        return info

    def assemble(self, key: str, head: bytes, parts: Sequence[str]) -> ObjectInfo:
        """Create an object inside the store; its bytes are not kept."""
        return self._models.assemble(key, head, parts)

    def _blocks(self, key: str, start: int, stop: int, version: str | None) -> Iterator[bytes]:
        """Fetch a range block by block; an object that ends earlier ends it."""
        for first in range(start, stop, _BLOCK_BYTES):
            wanted = min(_BLOCK_BYTES, stop - first)
            block = self._models.get(key, start=first, stop=first + wanted, version=version)
            yield block
            if len(block) < wanted:
                return


def _checked(blocks: Iterable[bytes], key: str, sha256: str) -> Iterator[bytes]:
    """Pass blocks on, and fail at their end unless they have the digest."""
    digest = hashlib.sha256()
    for block in blocks:
        digest.update(block)
        yield block
    if digest.hexdigest() != sha256:
        raise Unavailable(f"get {key}: the bytes that came have the digest {digest.hexdigest()}")


def _name(key: str, version: str | None) -> str:
    return key if version is None else f"{key} {version}"
