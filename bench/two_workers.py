"""How much faster two workers are than one, in turns, beside two processes that only read.

One and two are measured in turns, each process anew and warm before it begins; the slower of two
counts. A machine that is shared gives two workers more at one time than at another: of the pairs'
gains the median is printed, and between which a half of them lies. ``memory`` looks at as many
bytes of private memory that is there already: no file, no arithmetic, no fault; what two gain there
is all that the machine has to give. Of both workers the processor's and the system's seconds and
the page faults are added. Written to ``build/bench/two_workers.json``.

``python -m bench.two_workers [--clients 100] [--parameters 25000000] [--pairs 15] [--keep]``
"""

import argparse
import shutil
import statistics
from typing import Any

from rich.console import Console
from rich.table import Table

from bench import machine
from bench.aggregation import PROGRAM, ROOT
from bench.together import together
from bench.updates import write_updates

PARTS = {"fedavg": "weighted mean", "read": "read", "memory": "memory"}

Row = dict[str, Any]


def measure(options: argparse.Namespace) -> dict[str, dict[str, list[Row]]]:
    """Return part -> workers -> what each pair's turn took."""
    folder = ROOT / "build" / "bench" / "updates" / str(options.parameters)
    write_updates(folder, options.clients, options.parameters)
    found: dict[str, dict[str, list[Row]]] = {part: {"1": [], "2": []} for part in PARTS}
    for _ in range(options.pairs):
        for part, turns in found.items():
            for workers in (1, 2):
                reports = together(PROGRAM, [part, str(folder), str(options.clients), "1"], workers)
                turns[str(workers)].append(_turn(reports))
    return found


def _turn(reports: list[Row]) -> Row:
    return {
        "seconds": max(one["seconds"][0] for one in reports),
        "processor": sum(one["processor"][0] for one in reports),
        "system": sum(one["system"][0] for one in reports),
        "faults": sum(one["faults"][0] for one in reports),
    }


def table_of(found: dict[str, dict[str, list[Row]]], gigabytes: float) -> Table:
    """Return the medians, and the median of the pairs' gains."""
    table = Table(
        "what", "workers", "clock s", "GB/s", "cpu s", "system s", "faults", "gain", "half of them"
    )
    for part, turns in found.items():
        pairs = zip(turns["1"], turns["2"], strict=True)
        low, gain, high = statistics.quantiles(
            (one["seconds"] / two["seconds"] for one, two in pairs), method="inclusive"
        )
        for workers, rows in turns.items():
            middle = {key: statistics.median(row[key] for row in rows) for key in rows[0]}
            table.add_row(
                PARTS[part],
                workers,
                f"{middle['seconds']:.3f}",
                f"{gigabytes / middle['seconds']:.1f}",
                f"{middle['processor']:.3f}",
                f"{middle['system']:.3f}",
                f"{middle['faults']:,.0f}",
                *((f"{gain:.2f}", f"{low:.2f} to {high:.2f}") if workers == "2" else ("", "")),
            )
    return table


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--parameters", type=int, default=25_000_000)
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--keep", action="store_true", help="keep the files for another run")
    options = parser.parse_args()
    if options.pairs < 2:  # noqa: PLR2004 - one has no spread
        parser.error(f"--pairs is {options.pairs}; gains are told with their spread, of at least 2")
    found = measure(options)
    console = Console(width=120)
    console.print(f"{options.clients} updates of {options.parameters:,} parameters")
    console.print(table_of(found, 4e-9 * options.clients * options.parameters))
    machine.write_report("two_workers", machine.versions("numpy", "numba"), {"turns": found})
    if not options.keep:
        shutil.rmtree(ROOT / "build" / "bench" / "updates")


if __name__ == "__main__":
    main()
