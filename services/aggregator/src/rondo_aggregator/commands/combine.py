"""``rondo-aggregator combine``: a round on files, with the kernels and to the bytes of a round."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec

from rondo_aggregator.adapters.weight_files import (
    map_update,
    map_weights,
    read_layout,
    write_weights,
)
from rondo_aggregator.commands.arguments import UpdateFile
from rondo_aggregator.domain.shards import split
from rondo_aggregator.handlers.reading import check_state
from rondo_aggregator.handlers.writing import state_after
from rondo_aggregator.strategies.cohort import Mix
from rondo_aggregator.strategies.combination import Strategy
from rondo_aggregator.strategies.inputs import Inputs, in_turn
from rondo_aggregator.strategies.rounds import columns_of, mix_of_round, products_of
from rondo_core.encodings import DeltaColumns
from rondo_core.errors import Invalid
from rondo_core.layout import Float32Array, Layout
from rondo_core.optimizer_state import OptimizerState, decode_state, encode_state
from rondo_core.weights import sha256_file

__all__ = ["CombinedFiles", "Files", "combine_files"]

STATE_NAME = "state.json"
_WIDTH = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Files:
    """What is combined and where it goes; ``state_in`` and ``state_out`` are folders."""

    base: Path
    updates: Sequence[UpdateFile]
    out: Path
    state_in: Path | None = None
    state_out: Path | None = None


class CombinedFiles(msgspec.Struct, frozen=True, kw_only=True):
    """What was written: digests, and how much each client counted."""

    sha256: str
    optimizer_state: str | None
    factors: dict[str, float]
    weights: dict[str, float]


def combine_files(files: Files, strategy: Strategy) -> CombinedFiles:
    """Combine deltas, in the order of their clients' names, and write the next version.

    Memory is a stretch of columns, whatever the number and the size of the files.

    Raises:
        Invalid: a file is not what it should be, two clients have one name, a rule refuses the
            round, the result is not finite, or the strategy keeps a state and has no place for it.
    """
    layout = read_layout(files.base)
    updates = _in_order(files.updates)
    if strategy.stateful and files.state_out is None:
        raise Invalid(f"strategy {strategy.name!r} keeps a state: say where, with --state-out")
    state = None if files.state_in is None else _read_state(files.state_in, strategy, layout)
    inputs = _inputs(files, updates, layout, state)
    nodes = [] if strategy.need == "nothing" else products_of(strategy, inputs, 0, layout.size)
    mix = mix_of_round(strategy, inputs, nodes)
    sha256, slots = _write(files, strategy, mix, inputs, layout)
    kept = None
    if strategy.stateful and files.state_out is not None:
        after = state_after(strategy, layout, state, mix, slots)
        kept = _write_state(files.state_out, after)
    names = inputs.clients
    return CombinedFiles(
        sha256=sha256,
        optimizer_state=kept,
        factors=dict(zip(names, mix.factors, strict=True)),
        weights=dict(zip(names, mix.weights, strict=True)),
    )


def _in_order(updates: Sequence[UpdateFile]) -> list[UpdateFile]:
    name, times = Counter(update.path.stem for update in updates).most_common(1)[0]
    if times > 1:
        raise Invalid(f"{times} updates are of the client {name!r}")
    return sorted(updates, key=lambda update: update.path.stem)


def _inputs(
    files: Files, updates: Sequence[UpdateFile], layout: Layout, state: OptimizerState | None
) -> Inputs:
    base = map_weights(files.base, layout)
    deltas = _deltas([update.path for update in updates], layout)
    slots: dict[str, Float32Array] = {}
    if state is not None and files.state_in is not None:
        slots = {name: map_weights(_slot(files.state_in, name), layout) for name in state.slots}
    return Inputs(
        columns=layout.size,
        clients=[update.path.stem for update in updates],
        examples=[update.examples for update in updates],
        staleness=[update.staleness for update in updates],
        steps=[update.steps for update in updates],
        base=lambda start, stop: base[start:stop],
        slot=(lambda name, start, stop: slots[name][start:stop]) if slots else None,
        read=in_turn(lambda client, start, stop: deltas[client](start, stop)),
        scalars={} if state is None else state.scalars,
        step=1 if state is None else state.step + 1,
    )


def _deltas(paths: Sequence[Path], layout: Layout) -> list[Callable[[int, int], DeltaColumns]]:
    """Return what reads columns of each update; all are in the first one's encoding."""
    found = [map_update(path, layout) for path in paths]
    for path, (form, _) in zip(paths, found, strict=True):
        if form != found[0][0]:
            names = f"{paths[0]} is in {found[0][0].name}, {path} in {form.name}"
            raise Invalid(f"mixed encodings: {names}; all updates of a round are in one")
    return [partial(form.columns_of_file, data) for form, data in found]


def _write(
    files: Files, strategy: Strategy, mix: Mix, inputs: Inputs, layout: Layout
) -> tuple[str, dict[str, str]]:
    """Write the version and, beside each other, its state's vectors."""
    names = list(strategy.slots)
    folder = files.state_out or files.out.parent
    paths = [files.out, *(_slot(folder, name) for name in names)]

    def stretches() -> Iterator[Sequence[Float32Array]]:
        for shard in split(inputs.columns, _WIDTH):
            columns = columns_of(strategy, mix, inputs, shard.start, shard.stop)
            yield (columns.weights, *columns.slots)

    sha256, *slots = write_weights(paths, layout, stretches())
    return sha256, dict(zip(names, slots, strict=True))


def _read_state(folder: Path, strategy: Strategy, layout: Layout) -> OptimizerState:
    try:
        state = decode_state((folder / STATE_NAME).read_bytes())
    except OSError as exc:
        raise Invalid(f"{folder} holds no state: {exc}") from exc
    check_state(state, strategy, layout)
    for name, sha256 in state.slots.items():
        found = sha256_file(_slot(folder, name))
        if found != sha256:
            raise Invalid(f"{_slot(folder, name)} has the digest {found}, its state says {sha256}")
    return state


def _write_state(folder: Path, state: OptimizerState) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    data, sha256 = encode_state(state)
    (folder / STATE_NAME).write_bytes(data)
    return sha256


def _slot(folder: Path, name: str) -> Path:
    return folder / f"{name}.safetensors"
