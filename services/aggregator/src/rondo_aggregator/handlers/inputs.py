"""Where a round's arrays come from: the store, read ahead while the last ones are combined."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import NamedTuple

import numpy as np

from rondo_aggregator.handlers.ports import Objects
from rondo_aggregator.handlers.reading import Source
from rondo_aggregator.strategies.rounds import Inputs, Wanted
from rondo_core.layout import FLOAT32, Float32Array, Layout
from rondo_core.model_store import slot_key, weights_key

__all__ = ["inputs_of", "weights_reader"]

FETCHES = 4
"""Ranges that are fetched at once."""
_FETCHED_COLUMNS = 4 * 1024 * 1024
"""16 MiB of a delta in one range: more is fetched no faster, and is held in memory."""
WHOLE_BYTES = 256 * 1024 * 1024
"""Up to this much, the files of a round are kept whole where they are combined."""


class _Pinned(NamedTuple):
    """A file in the store whose bytes can be no others."""

    key: str
    version: str | None
    sha256: str


class _Columns:
    """Reads columns of files of one layout."""

    def __init__(self, layout: Layout, objects: Objects, *, whole: bool) -> None:
        self._layout = layout
        self._objects = objects
        self._whole = whole

    def __call__(self, file: _Pinned, start: int, stop: int) -> Float32Array:
        first, last = (
            self._layout.data_offset + FLOAT32.itemsize * column for column in (start, stop)
        )
        if self._whole:
            size = self._layout.size_bytes
            data = self._objects.whole(
                file.key, size=size, version=file.version, sha256=file.sha256
            )[first:last]
        else:
            data = self._objects.passing(file.key, first, last, file.version)
        return np.frombuffer(data, FLOAT32)


def inputs_of(source: Source, objects: Objects) -> Inputs:
    """Return the readers of a round.

    Files that are small together are kept whole, so that their digests are checked and what this
    machine validated is not fetched again; of others only the wanted range comes, and nothing
    stays.
    """
    manifest, layout, state = source.manifest, source.layout, source.state
    small = layout.size_bytes * (1 + len(manifest.updates)) <= WHOLE_BYTES
    columns = _Columns(layout, objects, whole=small)
    files = [_Pinned(one.key, one.object_version, one.sha256) for one in manifest.updates]
    base = _Pinned(weights_key(manifest.base), None, manifest.base)
    slots = {} if state is None else state.slots

    def slot(name: str, start: int, stop: int) -> Float32Array:
        return columns(_Pinned(slot_key(slots[name]), None, slots[name]), start, stop)

    def read(wishes: Sequence[Wanted]) -> Iterator[list[Float32Array]]:
        return _ahead(columns, files, wishes)

    return Inputs(
        columns=layout.size,
        clients=[one.client_id for one in manifest.updates],
        examples=[one.examples for one in manifest.updates],
        staleness=[one.staleness for one in manifest.updates],
        steps=[one.steps for one in manifest.updates],
        base=lambda start, stop: columns(base, start, stop),
        slot=slot if slots else None,
        read=read,
        scalars={} if state is None else state.scalars,
        step=1 if state is None else state.step + 1,
        **({} if small else {"group": FETCHES, "stretch_columns": _FETCHED_COLUMNS}),
    )


def weights_reader(
    sha256: str, layout: Layout, objects: Objects
) -> Callable[[int, int], Float32Array]:
    """Return what reads columns ``[start, stop)`` of a version; nothing is kept."""
    columns = _Columns(layout, objects, whole=False)
    return lambda start, stop: columns(_Pinned(weights_key(sha256), None, sha256), start, stop)


def _ahead(
    columns: _Columns, files: Sequence[_Pinned], wishes: Sequence[Wanted]
) -> Iterator[list[Float32Array]]:
    """Yield the arrays of each wish while other threads fetch those that come after."""
    ranges = ((client, wish.start, wish.stop) for wish in wishes for client in wish.clients)
    ahead = max([FETCHES, *(len(wish.clients) for wish in wishes)])
    with ThreadPoolExecutor(FETCHES, thread_name_prefix="fetch") as pool:
        fetches = (pool.submit(columns, files[one], *ends) for one, *ends in ranges)
        begun = deque(islice(fetches, ahead))
        for wish in wishes:
            arrays = []
            for _ in wish.clients:
                arrays.append(begun.popleft().result())
                begun.extend(islice(fetches, 1))
            yield arrays
