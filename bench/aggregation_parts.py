"""One measurement of our aggregation in a process of its own; `bench.aggregation` starts them.

``python -m bench.aggregation_parts PART FOLDER CLIENTS REPEATS [SHARE]``
"""

import mmap
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from bench.peers.measuring import measured, report
from bench.peers.raw_files import save_result
from bench.together import await_the_others
from rondo_aggregator.strategies.arrays import Float64Array
from rondo_aggregator.strategies.inputs import Inputs, Wanted, in_turn
from rondo_aggregator.strategies.kernels import warm
from rondo_aggregator.strategies.registry import named
from rondo_aggregator.strategies.rounds import columns_of, mix_of_round, products_of
from rondo_core.layout import FLOAT32, Float32Array
from rondo_core.weights import layout_of_file

STRETCH = 1024 * 1024
MEMORY_BYTES = 512 * 1024 * 1024
"""Far more than any cache holds."""


def paths(folder: Path, clients: int) -> list[Path]:
    """Return the updates' files; where there are more clients than files, again from the first."""
    files = sorted(folder.glob("*.safetensors"))
    return [files[client % len(files)] for client in range(clients)]


def mapped(path: Path) -> memoryview:
    """Map a file."""
    with path.open("rb") as file:
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def inputs_of(folder: Path, clients: int) -> Inputs:
    """Map the files anew, and return readers of them; the base is the first client's file."""
    views = [mapped(path) for path in paths(folder, clients)]
    layout = layout_of_file(views[0])
    deltas = [np.frombuffer(view, FLOAT32, offset=layout.data_offset) for view in views]
    return Inputs(
        columns=layout.size,
        clients=[f"{client:04}" for client in range(clients)],
        examples=[client + 1 for client in range(clients)],
        base=lambda start, stop: deltas[0][start:stop],
        read=in_turn(lambda client, start, stop: deltas[client][start:stop]),
    )


def combine(strategy_name: str, inputs: Inputs, first: int, last: int) -> list[Float32Array]:
    """Combine columns ``[first, last)`` by stretches, as a worker does a shard."""
    parameters = {"root": inputs.clients[0]} if strategy_name == "fltrust" else {}
    strategy = named(strategy_name, parameters, owned=lambda _: None)
    nodes = [] if strategy.need == "nothing" else products_of(strategy, inputs, 0, inputs.columns)
    mix = mix_of_round(strategy, inputs, nodes)
    starts = range(first, last, STRETCH)
    return [
        columns_of(strategy, mix, inputs, start, min(start + STRETCH, last)).weights
        for start in starts
    ]


def read_blocks(files: Sequence[Path]) -> None:
    """Read every byte into one buffer that stays in the cache: the least that reading costs."""
    buffer = bytearray(1024 * 1024)
    for path in files:
        with path.open("rb", buffering=0) as file:
            while file.readinto(buffer):
                pass


def read_whole(files: Sequence[Path]) -> None:
    """Read every file as a program does that wants its bytes: ``read()``."""
    for path in files:
        path.read_bytes()


def read_memory(block: Float64Array, size: int) -> None:
    """Look at ``size`` bytes of private memory that is there already: what memory gives at most."""
    for _ in range(-(-size // block.nbytes)):
        block.max()


def blocked_numpy(inputs: Inputs) -> None:
    """Sum in float64 with NumPy alone, block by block."""
    weights = np.array(inputs.examples, np.float64)
    everybody = tuple(range(len(inputs.clients)))
    for start in range(0, inputs.columns, 16_384):
        stop = min(start + 16_384, inputs.columns)
        total, scratch = np.zeros(stop - start), np.empty(stop - start)
        for client in everybody:
            delta = one(inputs, client, start, stop)
            np.multiply(delta, weights[client], out=scratch)
            total += scratch
        (total / weights.sum()).astype(np.float32)


def one(inputs: Inputs, client: int, start: int, stop: int) -> Float32Array:
    """Read one delta's columns."""
    (found,) = next(inputs.read([Wanted((client,), start, stop)]))
    return found[:]


def stacked(inputs: Inputs) -> Float32Array:
    """Return all deltas as one array, which is how NumPy's order statistics want them."""
    return np.stack([one(inputs, k, 0, inputs.columns) for k in range(len(inputs.clients))])


def main() -> None:
    """Measure what the arguments say, and report."""
    part, folder, clients, repeats = sys.argv[1], Path(sys.argv[2]), *map(int, sys.argv[3:5])
    shared = sys.argv[5:]  # with whom, if the others are to begin in the same moment
    share, shares = map(int, (shared[0] if shared else "0/1").split("/"))
    inputs, files = inputs_of(folder, clients), paths(folder, clients)
    width = -(-inputs.columns // shares)
    first, last = share * width, min((share + 1) * width, inputs.columns)
    warm()
    works: dict[str, Callable[[], object]] = {
        "read": lambda: read_blocks(files[share::shares]),
        "read-whole": lambda: read_whole(files),
        "numpy": lambda: blocked_numpy(inputs),
    }
    if part.startswith("np."):
        block = stacked(inputs)
        name = part.removeprefix("np.")
        function = np.median if name == "median" else np.sort
        report(measured(lambda: function(block, axis=0), repeats=repeats))
        return
    if part == "memory":
        memory = np.ones(MEMORY_BYTES // 8)
        works[part] = lambda: read_memory(memory, 4 * inputs.columns * clients // shares)
    work = works.get(part, lambda: combine(part, inputs_of(folder, clients), first, last))
    if shared:
        work()
        await_the_others()
        report(measured(work, repeats=1, warm_up=False))
        return
    report(measured(work, repeats=repeats))
    if part == "fedavg":
        at_zero = replace(inputs, base=lambda start, stop: np.zeros(stop - start, np.float32))
        save_result(folder, "rondo", np.concatenate(combine(part, at_zero, 0, inputs.columns)))


if __name__ == "__main__":
    main()
