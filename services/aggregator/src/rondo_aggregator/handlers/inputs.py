"""Where a round's arrays come from: the store, read ahead while the last ones are combined."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import NamedTuple

from rondo_aggregator.handlers.ports import Objects
from rondo_aggregator.handlers.reading import Source
from rondo_aggregator.strategies.inputs import Inputs, Wanted
from rondo_core.encodings import DeltaColumns, UpdateForm, form_of
from rondo_core.encodings.names import FLOAT32
from rondo_core.layout import Float32Array, Layout
from rondo_core.model_store import slot_key, weights_key

__all__ = ["inputs_of", "weights_reader"]

FETCHES = 4
"""Ranges that are fetched at once."""
_FETCHED_COLUMNS = 4 * 1024 * 1024
"""16 MiB of a delta in one range: more is fetched no faster, and is held in memory."""
WHOLE_BYTES = 256 * 1024 * 1024
"""Up to this much, the files of a round are kept whole where they are combined."""


Fetch = Callable[[str, int, int, str | None], memoryview]


class _Pinned(NamedTuple):
    """A file in the store whose bytes can be no others."""

    key: str
    version: str | None
    sha256: str


class _Columns:
    """Reads columns of files that look alike: of updates, of versions and of what goes with them.

    What every reader of a file needs, such as scales, is kept at hand once it was fetched.
    """

    def __init__(self, form: UpdateForm, objects: Objects, *, whole: bool) -> None:
        self._form = form
        self._objects = objects
        self._whole = whole

    def __call__(self, file: _Pinned, start: int, stop: int) -> DeltaColumns:
        form, objects = self._form, self._objects
        if self._whole:
            data = objects.whole(
                file.key, size=form.size_bytes, version=file.version, sha256=file.sha256
            )
            return form.columns_of_file(data, start, stop)
        head = _fetched(objects.part, file, form.head)
        return form.columns(
            head, _fetched(objects.passing, file, form.span(start, stop)), start, stop
        )

    def floats(self, file: _Pinned, start: int, stop: int) -> Float32Array:
        """Read columns as float32: of a version that is a view."""
        return self(file, start, stop)[:]


def _fetched(fetch: Fetch, file: _Pinned, span: tuple[int, int]) -> memoryview:
    start, stop = span
    return fetch(file.key, start, stop, file.version) if start < stop else memoryview(b"")


def inputs_of(source: Source, objects: Objects) -> Inputs:
    """Return the readers of a round.

    Files that are small together are kept whole, so that their digests are checked and what this
    machine validated is not fetched again; of others only the wanted range comes, and nothing
    stays.
    """
    manifest, layout, state = source.manifest, source.layout, source.state
    form = form_of(layout, manifest.encoding)
    small = layout.size_bytes + form.size_bytes * len(manifest.updates) <= WHOLE_BYTES
    deltas = _Columns(form, objects, whole=small)
    plain = _Columns(form_of(layout, FLOAT32), objects, whole=small)
    files = [_Pinned(one.key, one.object_version, one.sha256) for one in manifest.updates]
    base = _Pinned(weights_key(manifest.base), None, manifest.base)
    slots = {} if state is None else state.slots

    def slot(name: str, start: int, stop: int) -> Float32Array:
        return plain.floats(_Pinned(slot_key(slots[name]), None, slots[name]), start, stop)

    def read(wishes: Sequence[Wanted]) -> Iterator[list[DeltaColumns]]:
        return _ahead(deltas, files, wishes)

    return Inputs(
        columns=layout.size,
        clients=[one.client_id for one in manifest.updates],
        examples=[one.examples for one in manifest.updates],
        staleness=[one.staleness for one in manifest.updates],
        steps=[one.steps for one in manifest.updates],
        base=lambda start, stop: plain.floats(base, start, stop),
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
    columns = _Columns(form_of(layout, FLOAT32), objects, whole=False)
    return lambda start, stop: columns.floats(
        _Pinned(weights_key(sha256), None, sha256), start, stop
    )


def _ahead(
    columns: _Columns, files: Sequence[_Pinned], wishes: Sequence[Wanted]
) -> Iterator[list[DeltaColumns]]:
    """Yield the columns of each wish while other threads fetch those that come after."""
    ranges = ((client, wish.start, wish.stop) for wish in wishes for client in wish.clients)
    ahead = max([FETCHES, *(len(wish.clients) for wish in wishes)])
    with ThreadPoolExecutor(FETCHES, thread_name_prefix="fetch") as pool:
        fetches = (pool.submit(columns, files[one], *ends) for one, *ends in ranges)
        begun = deque(islice(fetches, ahead))
        for wish in wishes:
            found = []
            for _ in wish.clients:
                found.append(begun.popleft().result())
                begun.extend(islice(fetches, 1))
            yield found
