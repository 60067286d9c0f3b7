"""The bucket in memory."""

import hashlib
import itertools
import threading
from collections.abc import Sequence

from rondo_core.errors import NotFound
from rondo_core.model_store import MIN_PART_BYTES, AlreadyExists, ObjectInfo

__all__ = ["MemoryModelStore"]


class MemoryModelStore:
    """A ``ModelStore`` that is a dict behind a lock. Copies what it is given. Thread-safe."""

    def __init__(self) -> None:
        self._objects: dict[str, tuple[bytes, ObjectInfo]] = {}
        self._versions = itertools.count(1)
        self._lock = threading.RLock()

    def put(self, key: str, data: bytes | memoryview) -> ObjectInfo:
        """Create an object; the same bytes again are a success."""
        content = bytes(data)
        with self._lock:
            if key in self._objects:
                held, info = self._objects[key]
                if held != content:
                    raise AlreadyExists(key, same=False)
                return info
            return self._create(key, content, hashlib.sha256(content).hexdigest())

    def get(
        self, key: str, *, start: int = 0, stop: int | None = None, version: str | None = None
    ) -> bytes:
        """Return bytes ``[start, stop)``; what lies past the end is not there, as in a slice."""
        with self._lock:
            held = self._objects.get(key)
        if held is None or version not in {None, held[1].version}:
            raise NotFound(f"object {key}" + (f" version {version}" if version else ""))
        return held[0][start:stop]

    def head(self, key: str) -> ObjectInfo | None:
        """Return what is known of an object, or None."""
        with self._lock:
            held = self._objects.get(key)
        return None if held is None else held[1]

    def assemble(self, key: str, head: bytes, parts: Sequence[str]) -> ObjectInfo:
        """Create an object from others; an existing key of the right size is a success.

        Raises:
            ValueError: a part but the last is too small to be copied, all too large to be put.
        """
        with self._lock:
            blocks = [self.get(part) for part in parts]
            content = b"".join((head, *blocks))
            if len(content) > 2 * MIN_PART_BYTES and any(
                len(block) < MIN_PART_BYTES for block in blocks[:-1]
            ):
                raise ValueError(
                    f"{key}: a part but the last is smaller than {MIN_PART_BYTES} bytes"
                )
            if key in self._objects:
                info = self._objects[key][1]
                if info.size != len(content):
                    raise AlreadyExists(key, same=False)
                return info
            return self._create(key, content, None)

    def keys(self, prefix: str) -> list[str]:
        """Return the keys that start so, in the order of their bytes."""
        with self._lock:
            return sorted((key for key in self._objects if key.startswith(prefix)), key=str.encode)

    def forget(self, key: str) -> bool:
        """Drop an object; say whether it was there."""
        with self._lock:
            return self._objects.pop(key, None) is not None

    def _create(self, key: str, content: bytes, sha256: str | None) -> ObjectInfo:
        info = ObjectInfo(len(content), sha256, f"version-{next(self._versions)}")
        self._objects[key] = (content, info)
        return info
