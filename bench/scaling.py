"""Seconds and memory of a round's partials against workers, clients and parameters.

Every worker is a process that runs the aggregator's own task of a shard over files in the page
cache, read range by range as from the store. The slowest worker's time counts, from the moment when
all are ready. Written to ``build/bench/scaling.json``, and drawn in ``docs/images/scaling.svg``.

``python -m bench.scaling [--only NUMBER ...] [--repeats 3]``

A round is measured again only when its number is asked for, so that a run can be cut into parts;
``--only`` without a number draws what was measured. Files take up to 4.1 GB and are deleted.
"""

import argparse
import json
import shutil
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from bench import machine
from bench.together import together
from bench.updates import layout_of
from rondo_core.weights import sha256_file
from rondo_local.environments import checkout

ROOT = checkout()
FOLDER = ROOT / "build" / "bench" / "scaling"
WRITTEN = FOLDER.with_suffix(".json")
PICTURE = ROOT / "docs" / "images" / "scaling.svg"
BLOCK = 1024 * 1024
LIMIT_MIB = 400
"""What a worker may hold in private memory."""
COLOURS = ("#1f4e79", "#d9822b")
STYLES = (("fedavg", "o", "-"), ("median", "s", ":"))


@dataclass(frozen=True, slots=True)
class Round:
    """A round to combine.

    Attributes:
        strategy: ``fedavg`` reads ranges of a few clients, ``median`` columns of all.
        clients: that handed in an update.
        parameters: of the model, float32.
        files: different ones; more clients read them again.
    """

    strategy: str
    clients: int
    parameters: int
    files: int


ROUNDS = [
    Round("fedavg", 10, 1_200_000, 10),
    Round("fedavg", 100, 1_200_000, 100),
    Round("fedavg", 1000, 1_200_000, 100),
    Round("fedavg", 10, 25_000_000, 10),
    Round("fedavg", 100, 25_000_000, 10),
    Round("fedavg", 10, 250_000_000, 3),
    Round("median", 10, 1_200_000, 10),
    Round("median", 100, 1_200_000, 100),
    Round("median", 1000, 1_200_000, 100),
    Round("median", 10, 25_000_000, 10),
    Round("median", 100, 25_000_000, 10),
    Round("median", 10, 250_000_000, 3),
]
WORKERS = (1, 2)


def write_files(round_: Round) -> Path:
    """Write updates and a base of random values, unless they are there; return their folder.

    Each file has its digest for a name, and a folder that is there is complete.
    """
    folder = FOLDER / f"{round_.parameters}-{round_.files}"
    if folder.exists():
        return folder
    new = folder.with_suffix(".new")
    shutil.rmtree(new, ignore_errors=True)
    layout = layout_of(round_.parameters)
    for number in range(1 + round_.files):
        kind = new / ("updates" if number else "versions")
        kind.mkdir(parents=True, exist_ok=True)
        path = kind / "unnamed"
        block = np.random.default_rng(number).standard_normal(BLOCK, np.float32)
        with path.open("wb") as file:
            file.write(layout.prefix)
            for start in range(0, round_.parameters, BLOCK):
                file.write(np.roll(block, start)[: round_.parameters - start].tobytes())
        path.rename(kind / sha256_file(path))
    new.rename(folder)
    return folder


def measure(round_: Round, workers: int, folder: Path) -> dict[str, float]:
    """Let so many workers make the partials at once: the slowest's time, the largest peak."""
    arguments = [str(folder), round_.strategy, str(round_.clients)]
    found = together("bench.scaling_worker", arguments, workers)
    for leftover in [folder / "partials", *folder.glob("cache-*")]:
        shutil.rmtree(leftover, ignore_errors=True)
    return {
        "seconds": max(one["seconds"][0] for one in found),
        "processor_seconds": max(one["processor"][0] for one in found),
        "peak_private_mib": max(one["peak_private_mib"] for one in found),
    }


def measured(round_: Round, repeats: int) -> list[dict[str, Any]]:
    """Measure a round with each number of workers."""
    folder = write_files(round_)
    rows = []
    for workers in WORKERS:
        found = [measure(round_, workers, folder) for _ in range(repeats)]
        middle = {name: statistics.median(one[name] for one in found) for name in found[0]}
        middle["peak_private_mib"] = max(one["peak_private_mib"] for one in found)
        rows.append({**asdict(round_), "workers": workers, "repeats": repeats, **middle})
    return rows


def draw(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw seconds against clients and against parameters, and each worker's peak memory."""
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    clients, parameters, memory = figure.subplots(1, 3)
    fewest = {name: min(row[name] for row in rows) for name in ("clients", "parameters")}
    for (strategy, marker, line), (workers, colour) in product(
        STYLES, zip(WORKERS, COLOURS, strict=True)
    ):
        mine = [row for row in rows if (row["strategy"], row["workers"]) == (strategy, workers)]
        style = {"marker": marker, "color": colour, "linestyle": line}
        style["label"] = f"{strategy}, {workers} worker{'s' if workers > 1 else ''}"
        small = [row for row in mine if row["parameters"] == fewest["parameters"]]
        few = [row for row in mine if row["clients"] == fewest["clients"]]
        clients.plot([row["clients"] for row in small], seconds(small), **style)
        parameters.plot([row["parameters"] for row in few], seconds(few), **style)
        style["linestyle"] = ""
        memory.plot(
            [gigabytes(row) for row in mine], [row["peak_private_mib"] for row in mine], **style
        )
    what = f"clients, of {fewest['parameters'] / 1e6:g} M parameters"
    clients.set(xscale="log", yscale="log", xlabel=what, ylabel="seconds")
    what = f"parameters, of {fewest['clients']} clients"
    parameters.set(xscale="log", yscale="log", xlabel=what, ylabel="seconds")
    memory.axhline(LIMIT_MIB, color="#a33b3b", linewidth=1)
    memory.set(xscale="log", xlabel="GB of updates", ylabel="peak MiB of a worker", ylim=(0, 450))
    clients.legend(frameon=False)
    return figure


def seconds(rows: Sequence[Mapping[str, Any]]) -> list[float]:
    """Return how long rounds took."""
    return [row["seconds"] for row in rows]


def gigabytes(row: Mapping[str, Any]) -> float:
    """Return how much float32 a round's updates are."""
    return float(row["clients"] * row["parameters"] * 4 / 1e9)


def key_of(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return what tells one measurement from another."""
    return tuple(row[name] for name in ("strategy", "clients", "parameters", "workers"))


def known() -> dict[str, Any]:
    """Return what an earlier run wrote."""
    if not WRITTEN.exists():
        return {"results": []}
    found: dict[str, Any] = json.loads(WRITTEN.read_text())
    return found


def write(rows: Sequence[Mapping[str, Any]]) -> None:
    """Write everything as JSON, print it as a table, and draw it."""
    machine.write_report("scaling", machine.versions("numpy", "numba"), {"results": rows})
    columns = ("strategy", "clients", "parameters", "GB", "workers", "seconds", "cpu s", "peak MiB")
    table = Table(*columns)
    for row in rows:
        table.add_row(
            row["strategy"],
            f"{row['clients']:,}",
            f"{row['parameters']:,}",
            f"{gigabytes(row):.2f}",
            str(row["workers"]),
            f"{row['seconds']:.2f}",
            f"{row['processor_seconds']:.2f}",
            f"{row['peak_private_mib']:.0f}",
        )
    Console(width=100).print(table)
    with mpl.rc_context({"svg.hashsalt": "rondo"}):  # the same picture has the same bytes
        draw(rows).savefig(PICTURE, metadata={"Date": None})


def main() -> None:
    """Measure, print, draw, delete."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", type=int, nargs="*", default=range(len(ROUNDS)))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--keep", action="store_true", help="keep the files for another run")
    options = parser.parse_args()
    rows = {key_of(row): row for row in known()["results"]}
    for number in options.only:
        rows |= {key_of(row): row for row in measured(ROUNDS[number], options.repeats)}
    write([rows[key] for key in sorted(rows)])
    if not options.keep:
        shutil.rmtree(FOLDER, ignore_errors=True)


if __name__ == "__main__":
    main()
