"""Rows that never change once they are there, read once per process."""

import threading
from collections.abc import Callable
from typing import TypeVar

from rondo_core.errors import NotFound
from rondo_core.keys import run_key, version_key
from rondo_core.rows import RunRow, VersionRow, from_item
from rondo_core.run_store import Key, RunStore

__all__ = ["Archive"]

Kept = TypeVar("Kept", RunRow, VersionRow)
CAPACITY = 1024


class Archive:
    """Remembers the newest rows that were asked for. Safe to use from several threads.

    Args:
        store: where the rows are.
    """

    def __init__(self, store: RunStore) -> None:
        self._store = store
        self._runs: dict[Key, RunRow] = {}
        self._versions: dict[Key, VersionRow] = {}
        self._lock = threading.Lock()

    def run(self, run_id: str) -> RunRow:
        """Return what a run was asked for with; its state may be an old one.

        Raises:
            NotFound: no such run.
            Unavailable: the table did not answer.
        """
        key = run_key(run_id)
        return self._kept(self._runs, key, lambda item: from_item(item, RunRow))

    def version(self, run_id: str, version: int) -> VersionRow:
        """Return a version's row.

        Raises:
            NotFound: no such version.
            Unavailable: the table did not answer.
        """
        key = version_key(run_id, version)
        return self._kept(self._versions, key, lambda item: from_item(item, VersionRow))

    def _kept(self, kept: dict[Key, Kept], key: Key, read: Callable[..., Kept]) -> Kept:
        row = kept.get(key)
        if row is None:
            item = self._store.get(key)
            if item is None:
                raise NotFound(f"row {'/'.join(key)}")
            row = read(item)
            with self._lock:
                while len(kept) >= CAPACITY:
                    kept.pop(next(iter(kept)))
                kept[key] = row
        return row
