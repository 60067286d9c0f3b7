"""What a round is made of: its row, its manifest, its layout, its arrays."""

import hashlib
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from rondo_aggregator.domain.attempt import Attempt
from rondo_aggregator.domain.shards import Shard
from rondo_aggregator.handlers.ports import Objects
from rondo_aggregator.strategies.combination import combine_columns, strategy_named
from rondo_core.errors import Invalid
from rondo_core.layout import FLOAT32, Float32Array, Layout
from rondo_core.manifest import Manifest, decode_manifest
from rondo_core.model_store import manifest_key, weights_key
from rondo_core.rows import RoundRow, from_item
from rondo_core.run_store import RunStore
from rondo_core.safetensors_header import LENGTH_BYTES
from rondo_core.weights import layout_of_file

__all__ = ["Source", "combined", "layout_of", "round_of", "source_of"]

_HEADER_GUESS_BYTES = 64 * 1024
_LARGEST_MANIFEST_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Source:
    """All that the result of a round depends on, but the arrays."""

    manifest_sha256: str
    manifest: Manifest
    layout: Layout


class Pinned(NamedTuple):
    """A file in the store whose bytes can be no others."""

    key: str
    version: str | None
    sha256: str


def round_of(attempt: Attempt, store: RunStore) -> RoundRow | None:
    """Read the ROUND row, or None when there is none."""
    item = store.get(attempt.key)
    return None if item is None else from_item(item, RoundRow)


def layout_of(round_: RoundRow, objects: Objects) -> Layout:
    """Read the layout from the head of the base version's file.

    Raises:
        Invalid: it is not the layout that the round was opened with.
        NotFound: the base version is not in the store.
    """
    key = weights_key(round_.base_sha256)
    head = objects.part(key, 0, _HEADER_GUESS_BYTES)
    needed = LENGTH_BYTES + int.from_bytes(head[:LENGTH_BYTES], "little")
    if len(head) == _HEADER_GUESS_BYTES < needed:
        head = objects.part(key, 0, needed)
    layout = layout_of_file(head)
    if layout.digest != round_.layout:
        raise Invalid(f"{key} has the layout {layout.digest}, the round {round_.layout}")
    return layout


def source_of(round_: RoundRow, manifest_sha256: str, objects: Objects) -> Source:
    """Read manifest and layout, and check their names.

    Raises:
        Invalid: the bytes are not those that the digests name, or not a manifest.
        NotFound: one of them is not in the store.
    """
    data = bytes(objects.part(manifest_key(manifest_sha256), 0, _LARGEST_MANIFEST_BYTES))
    found = hashlib.sha256(data).hexdigest()
    if found != manifest_sha256:
        raise Invalid(f"manifest {manifest_sha256} has the digest {found}")
    return Source(manifest_sha256, decode_manifest(data), layout_of(round_, objects))


def combined(source: Source, shard: Shard, objects: Objects) -> bytes:
    """Return the shard's columns of the next version: a pure function of manifest and shard.

    Bytes that this machine validated are not fetched again.

    Raises:
        Invalid: nothing to combine, or a result that is not finite.
        NotFound: the base or an update is not in the store any more.
    """
    manifest = source.manifest
    base = Pinned(weights_key(manifest.base), None, manifest.base)
    pinned = [Pinned(one.key, one.object_version, one.sha256) for one in manifest.updates]
    columns = [_columns(source, shard, objects, one) for one in (base, *pinned)]
    examples = [entry.examples for entry in manifest.updates]
    result = combine_columns(strategy_named(manifest.strategy), columns[0], columns[1:], examples)
    return result.astype(FLOAT32, copy=False).tobytes()


def _columns(source: Source, shard: Shard, objects: Objects, pinned: Pinned) -> Float32Array:
    """Read the columns of a file; of a file that is wanted whole, the digest is checked too."""
    layout = source.layout
    start, stop = (
        layout.data_offset + FLOAT32.itemsize * column for column in (shard.start, shard.stop)
    )
    if stop - start == layout.size_bytes - layout.data_offset:
        size, sha256 = layout.size_bytes, pinned.sha256
        data = objects.whole(pinned.key, size=size, version=pinned.version, sha256=sha256)[start:]
    else:
        data = objects.part(pinned.key, start, stop, pinned.version)
    return np.frombuffer(data, FLOAT32)
