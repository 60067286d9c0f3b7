"""What never changes once it is there, read once per process."""

import threading
from collections.abc import Callable
from typing import TypeVar

from rondo_core.errors import NotFound
from rondo_core.initial_weights import layout_of_spec
from rondo_core.keys import (
    UPDATE_PREFIX,
    attempt_pk,
    round_key,
    run_key,
    spec_row_key,
    version_key,
)
from rondo_core.layout import Layout
from rondo_core.model_spec import parse_model_spec
from rondo_core.model_store import ModelStore, spec_key
from rondo_core.rows import RoundRow, RunRow, VersionRow, from_item
from rondo_core.run_store import Item, Key, RunStore
from rondo_gateway.domain.views import Tally, tally

__all__ = ["Archive"]

Kept = TypeVar("Kept", RunRow, VersionRow, Tally, Layout)
CAPACITY = 10_000
"""Of each kind: the most rounds that a run may have."""


class Archive:
    """Remembers the newest that was asked for. Safe to use from several threads.

    Args:
        store: where the rows are.
        objects: where the model specs are.
    """

    def __init__(self, store: RunStore, objects: ModelStore) -> None:
        self._store = store
        self._objects = objects
        self._runs: dict[Key, RunRow] = {}
        self._versions: dict[Key, VersionRow] = {}
        self._tallies: dict[Key, Tally] = {}
        self._layouts: dict[Key, Layout] = {}
        self._lock = threading.Lock()

    def run(self, run_id: str) -> RunRow:
        """Return what a run was asked for with; its state may be an old one.

        Raises:
            NotFound: no such run.
            Unavailable: the table did not answer.
        """
        key = run_key(run_id)
        return self._kept(self._runs, key, lambda: from_item(self._read(key), RunRow))

    def version(self, run_id: str, version: int) -> VersionRow:
        """Return a version's row.

        Raises:
            NotFound: no such version.
            Unavailable: the table did not answer.
        """
        key = version_key(run_id, version)
        return self._kept(self._versions, key, lambda: from_item(self._read(key), VersionRow))

    def layout(self, model: str, spec: str) -> Layout:
        """Return the layout of a registered spec's weights.

        Raises:
            NotFound: no such spec.
            Unavailable: the bucket did not answer.
        """

        def read() -> Layout:
            return layout_of_spec(parse_model_spec(self._objects.get(spec_key(spec))))

        return self._kept(self._layouts, spec_row_key(model, spec), read)

    def tally(self, row: RoundRow) -> Tally:
        """Count an attempt's updates; those of one that has left the index are all judged.

        Args:
            row: the attempt, which was read before.

        Raises:
            Unavailable: the table did not answer.
        """
        where = (row.run_id, row.round, row.attempt)

        def count() -> Tally:
            return tally(self._store.query(attempt_pk(*where), UPDATE_PREFIX))

        return count() if row.active else self._kept(self._tallies, round_key(*where), count)

    def _read(self, key: Key) -> Item:
        item = self._store.get(key)
        if item is None:
            raise NotFound(f"row {'/'.join(key)}")
        return item

    def _kept(self, kept: dict[Key, Kept], key: Key, read: Callable[[], Kept]) -> Kept:
        known = kept.get(key)
        if known is None:
            known = read()
            with self._lock:
                while len(kept) >= CAPACITY:
                    kept.pop(next(iter(kept)))
                kept[key] = known
        return known
