"""Where a round's arrays come from: the store, read ahead while the last ones are combined."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from rondo_aggregator.handlers.ports import Objects
from rondo_aggregator.handlers.reading import Source
from rondo_aggregator.strategies.rounds import Inputs, Wanted
from rondo_core.layout import FLOAT32, Float32Array, Layout
from rondo_core.model_store import slot_key, weights_key

__all__ = ["inputs_of", "weights_reader"]

_FETCHES = 4
"""Ranges that are fetched at once."""
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
        base=lambda start, stop: columns(base, start, stop),
        slot=slot if slots else None,
        read=read,
        scalars={} if state is None else state.scalars,
        step=1 if state is None else state.step + 1,
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
    """Yield the arrays of each wish while those of the next are fetched by other threads."""
    with ThreadPoolExecutor(_FETCHES, thread_name_prefix="fetch") as pool:

        def begin(wish: Wanted) -> list[Future[Float32Array]]:
            return [
                pool.submit(columns, files[client], wish.start, wish.stop)
                for client in wish.clients
            ]

        following = begin(wishes[0]) if wishes else []
        for position in range(len(wishes)):
            current = following
            following = begin(wishes[position + 1]) if position + 1 < len(wishes) else []
            yield [future.result() for future in current]
