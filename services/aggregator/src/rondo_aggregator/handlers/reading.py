"""What a round is made of: its row, its manifest, its layout, its strategy, its state."""

import hashlib
from dataclasses import dataclass

from rondo_aggregator.domain.attempt import Attempt
from rondo_aggregator.handlers.ports import Objects
from rondo_aggregator.strategies.combination import Strategy
from rondo_aggregator.strategies.registry import Strategies
from rondo_core.errors import Invalid, StrategyInvalid
from rondo_core.layout import Layout
from rondo_core.manifest import Manifest, decode_manifest
from rondo_core.model_store import manifest_key, state_key, weights_key
from rondo_core.optimizer_state import OptimizerState, decode_state
from rondo_core.rows import RoundRow, from_item
from rondo_core.run_store import RunStore
from rondo_core.safetensors_header import LENGTH_BYTES
from rondo_core.weights import layout_of_file

__all__ = [
    "Source",
    "base_layout",
    "check_state",
    "layout_of",
    "read_manifest",
    "read_state",
    "round_of",
    "source_of",
]

_HEADER_GUESS_BYTES = 64 * 1024
_LARGEST_MANIFEST_BYTES = 64 * 1024 * 1024
_LARGEST_STATE_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Source:
    """All that the result of a round depends on, but the arrays.

    Attributes:
        manifest_sha256: the manifest's name.
        manifest: base, updates, strategy and parameters.
        layout: of all arrays.
        strategy: the functions of the manifest's strategy.
        state: what the round before left; None in a run's first, or where nothing is kept.
    """

    manifest_sha256: str
    manifest: Manifest
    layout: Layout
    strategy: Strategy
    state: OptimizerState | None = None


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
    return base_layout(round_.base_sha256, round_.layout, objects)


def base_layout(base: str, digest: str, objects: Objects) -> Layout:
    """Read the layout of a version, which must have this digest; otherwise as `layout_of`."""
    key = weights_key(base)
    head = objects.part(key, 0, _HEADER_GUESS_BYTES)
    needed = LENGTH_BYTES + int.from_bytes(head[:LENGTH_BYTES], "little")
    if len(head) == _HEADER_GUESS_BYTES < needed:
        head = objects.part(key, 0, needed)
    layout = layout_of_file(head)
    if layout.digest != digest:
        raise Invalid(f"{key} has the layout {layout.digest}, the round {digest}")
    return layout


def source_of(
    round_: RoundRow, manifest_sha256: str, objects: Objects, strategies: Strategies
) -> Source:
    """Read manifest, layout, strategy and state, and check their names.

    Raises:
        Invalid: the bytes are not those that the digests name, or not what they should be.
        NotFound: one of them is not in the store.
    """
    manifest = read_manifest(manifest_sha256, objects)
    layout = layout_of(round_, objects)
    strategy = strategies(manifest.strategy, manifest.parameters)
    state = read_state(manifest, objects)
    check_state(state, strategy, layout)
    return Source(manifest_sha256, manifest, layout, strategy, state)


def read_manifest(sha256: str, objects: Objects) -> Manifest:
    """Read a manifest, which must have this digest.

    Raises:
        Invalid: it has another digest, or is none.
        NotFound: it is not in the store.
    """
    data = bytes(objects.part(manifest_key(sha256), 0, _LARGEST_MANIFEST_BYTES))
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise Invalid(f"manifest {sha256} has the digest {found}")
    return decode_manifest(data)


def read_state(manifest: Manifest, objects: Objects) -> OptimizerState | None:
    """Read the state that a manifest names, or None where it names none.

    Raises:
        Invalid: it has another digest, or is none.
        NotFound: it is not in the store.
    """
    if manifest.optimizer_state is None:
        return None
    data = bytes(objects.part(state_key(manifest.optimizer_state), 0, _LARGEST_STATE_BYTES))
    found = hashlib.sha256(data).hexdigest()
    if found != manifest.optimizer_state:
        raise Invalid(f"optimizer state {manifest.optimizer_state} has the digest {found}")
    return decode_state(data)


def check_state(state: OptimizerState | None, strategy: Strategy, layout: Layout) -> None:
    """Refuse a state that belongs to another model or another strategy.

    Raises:
        StrategyInvalid: its layout, or what it keeps, is another.
    """
    if state is None:
        return
    if state.layout != layout.digest:
        raise StrategyInvalid(
            f"the optimizer state has the layout {state.layout}, the model {layout.digest}"
        )
    if set(state.slots) != set(strategy.slots):
        kept, wanted = (
            ", ".join(sorted(names)) or "none" for names in (state.slots, strategy.slots)
        )
        raise StrategyInvalid(
            f"the optimizer state of {state.strategy!r} keeps {kept};"
            f" strategy {strategy.name!r} keeps {wanted}"
        )
