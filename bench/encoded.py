"""What the weighted mean costs of each encoding, decoded in the kernel that adds.

The same updates are written in every encoding; one process maps the files anew and combines them,
one encoding after the other, again and again. Written to ``build/bench/encoded.json``.

``python -m bench.encoded [--clients 100] [--parameters 2500000] [--repeats 7]``
"""

import argparse
import shutil
import statistics
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from bench import machine
from bench.aggregation_parts import combine
from bench.updates import layout_of, values_of
from rondo_aggregator.adapters.weight_files import map_update
from rondo_aggregator.strategies.inputs import Inputs, in_turn
from rondo_aggregator.strategies.kernels import warm
from rondo_core.encodings import encode
from rondo_core.layout import Layout
from rondo_local.environments import checkout

ENCODINGS = ("float32", "float16", "bfloat16", "int8", "top-k:0.01", "top-k:0.1")


def write_updates(folder: Path, layout: Layout, clients: int) -> None:
    """Write a random update of each client in every encoding."""
    for encoding in ENCODINGS:
        (folder / encoding).mkdir(parents=True, exist_ok=True)
    for client in range(clients):
        values = values_of(client, layout.size)
        for encoding in ENCODINGS:
            data = encode(layout, values, encoding, np.random.default_rng(client))
            (folder / encoding / f"{client:04}.safetensors").write_bytes(data)


def inputs_of(files: Iterable[Path], layout: Layout) -> Inputs:
    """Map the files anew, and return readers of them; the base is zero."""
    found = [map_update(file, layout) for file in files]
    return Inputs(
        columns=layout.size,
        clients=[f"{client:04}" for client in range(len(found))],
        examples=[client + 1 for client in range(len(found))],
        base=lambda start, stop: np.zeros(stop - start, np.float32),
        read=in_turn(
            lambda client, start, stop: found[client][0].columns_of_file(
                found[client][1], start, stop
            )
        ),
    )


def measure(folder: Path, layout: Layout, repeats: int) -> dict[str, list[float]]:
    """Return encoding -> seconds of each repeat, after one that does not count."""
    files = {encoding: sorted((folder / encoding).iterdir()) for encoding in ENCODINGS}
    seconds: dict[str, list[float]] = {encoding: [] for encoding in ENCODINGS}
    warm()
    for repeat in range(repeats + 1):
        for encoding in ENCODINGS:
            inputs = inputs_of(files[encoding], layout)  # looks at every value for a fault
            start = time.perf_counter()
            combine("fedavg", inputs, 0, layout.size)
            if repeat:
                seconds[encoding].append(time.perf_counter() - start)
    return seconds


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--parameters", type=int, default=2_500_000)
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    layout = layout_of(options.parameters)
    folder = checkout() / "build" / "bench" / "encoded"
    write_updates(folder, layout, options.clients)
    sizes = {
        name: sum(one.stat().st_size for one in (folder / name).iterdir()) for name in ENCODINGS
    }
    seconds = measure(folder, layout, options.repeats)
    shutil.rmtree(folder)
    middle = {name: statistics.median(taken) for name, taken in seconds.items()}
    table = Table("encoding", "MB", "seconds", "against float32")
    for name, taken in middle.items():
        ratio = taken / middle["float32"]
        table.add_row(name, f"{sizes[name] / 1e6:,.0f}", f"{taken:.3f}", f"{ratio:.2f} ×")
    console = Console(width=120)
    console.print(f"{options.clients} updates of {options.parameters:,} parameters", table)
    machine.write_report(
        "encoded",
        machine.versions("numpy", "numba"),
        {"bytes": sizes, "seconds": seconds, "medians": middle},
    )


if __name__ == "__main__":
    main()
