"""How fast updates are combined, beside reading their bytes, NumPy, Flower and NVFlare.

Everything runs on the same files in one run, each measurement in a process of its own, one after
the other; the peers in environments of their own, from their own serialized form. Times are by the
clock, and by the processor, which other programs on the machine disturb less. Ours map the files
anew each time. Written to ``build/bench/aggregation.json``.

``python -m bench.aggregation [--clients 100] [--parameters 2500000] [--repeats 5] [--no-peers]``

The files take clients x parameters x 4 bytes, three times with peers, and must fit into memory
beside what a peer holds, which is as much again: the default is 1 GB. ``--parameters 25000000
--no-peers`` is the size of the published comparison, 10 GB.
"""

import argparse
import json
import shutil
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from bench import machine
from bench.peers.environments import PEERS, peer_python, run
from bench.store_reading import store_reading
from bench.together import together
from bench.updates import write_updates
from rondo_local.environments import checkout

ROOT = checkout()
PROGRAM = "bench.aggregation_parts"
ORDER_PARAMETERS = 1_200_000
SAMPLE = 20_000


@dataclass(frozen=True)
class Result:
    """Seconds of each repeat by clock and processor, and the peak of private memory."""

    seconds: tuple[float, ...]
    processor: tuple[float, ...]
    peak_private_mib: float

    @property
    def median(self) -> float:
        """The middle of the repeats by the clock."""
        return statistics.median(self.seconds)

    @property
    def busy(self) -> float:
        """The middle of the repeats by the processor."""
        return statistics.median(self.processor)


def ours(part: str, folder: Path, clients: int, repeats: int) -> Result:
    """Measure one of our parts in its own process."""
    arguments = [part, str(folder), str(clients), str(repeats)]
    return _printed(run([sys.executable, "-m", PROGRAM, *arguments]))


def two_workers(part: str, folder: Path, clients: int, repeats: int) -> Result:
    """Measure two processes that do half of a part each; the slower one counts."""
    seconds, busy, peak = [], [], 0.0
    for _ in range(repeats):
        shared = together(PROGRAM, [part, str(folder), str(clients), "1"], 2)
        results = [_result(found) for found in shared]
        seconds.append(max(result.median for result in results))
        busy.append(max(result.busy for result in results))
        peak = max(peak, *(result.peak_private_mib for result in results))
    return Result(tuple(seconds), tuple(busy), peak)


def peer(name: str, what: str, folder: Path, clients: int, repeats: int) -> Result | None:
    """Measure a peer in its own environment, which is made at first."""
    python = peer_python(name)
    arguments = [what, str(folder), str(clients), str(repeats)]
    output = run([python, "-m", f"bench.peers.{name}", *arguments])
    return None if what == "write" else _printed(output)


def largest_error(folder: Path, clients: int, name: str) -> float:
    """Return how far a result is from the exact mean, against the mean's size, over a sample."""
    found = np.load(folder / f"{name}.npy")[:SAMPLE]
    exact = np.zeros(SAMPLE, np.longdouble)
    total = 0
    for client in range(clients):
        data = np.fromfile(folder / f"{client:04}.safetensors", np.uint8)
        start = 8 + int(data[:8].view("<u8")[0])
        values = data[start : start + 4 * SAMPLE].view("<f4")
        exact += values.astype(np.longdouble) * (client + 1)
        total += client + 1
    exact /= total
    return float(
        np.linalg.norm((found - exact).astype(float)) / np.linalg.norm(exact.astype(float))
    )


def _printed(output: str) -> Result:
    return _result(json.loads(output.strip().splitlines()[-1]))


def _result(found: dict[str, Any]) -> Result:
    seconds, processor = tuple(found["seconds"]), tuple(found["processor"])
    return Result(seconds, processor, found["peak_private_mib"])


def measure(options: argparse.Namespace) -> dict[str, Result]:
    """Run everything, one after the other."""
    folder = ROOT / "build" / "bench" / "updates" / str(options.parameters)
    small = ROOT / "build" / "bench" / "updates" / str(ORDER_PARAMETERS)
    clients, repeats = options.clients, options.repeats
    write_updates(folder, clients, options.parameters)
    write_updates(small, clients, ORDER_PARAMETERS)
    found = {
        part: ours(part, folder, clients, repeats)
        for part in ("read", "read-whole", "fedavg", "numpy", "fedadam")
    }
    for name, part in (("two workers", "fedavg"), ("read, two workers", "read")):
        found[name] = two_workers(part, folder, clients, repeats)
    found["krum"] = ours("krum", folder, clients, 1)
    for count in (10, 100, 1000):
        found[f"fedavg, {count} clients"] = ours("fedavg", small, count, 1)
        found[f"median, {count} clients"] = ours("median", small, count, 1)
        found[f"clipped-mean, {count} clients"] = ours("clipped-mean", small, count, 1)
        found[f"fltrust, {count} clients"] = ours("fltrust", small, count, 1)
    for part in ("median", "trimmed-mean", "np.median", "np.sort"):
        found[part] = ours(part, small, clients, min(repeats, 3))
    if options.peers:
        for name in PEERS:
            peer(name, "write", folder, clients, 1)
            for what in ("wire", "decoded"):
                result = peer(name, what, folder, clients, repeats)
                if result is not None:
                    found[f"{name}, {what}"] = result
    return found


def rows(found: dict[str, Result]) -> list[tuple[str, Result, str, float, float]]:
    """Return each measurement, what it is held against, and the ratios of clock and processor."""
    against = {
        "fedavg": "read-whole",
        "numpy": "fedavg",
        "fedadam": "fedavg",
        "two workers": "fedavg",
        "read, two workers": "read",
        "krum": "read-whole",
        "np.median": "median",
        "np.sort": "median",
        "trimmed-mean": "np.sort",
        **{f"{name}, {what}": "fedavg" for name in PEERS for what in ("wire", "decoded")},
    }
    compared = []
    for name, result in found.items():
        other = found.get(against.get(name, ""), result)
        ratios = result.median / other.median, result.busy / other.busy
        compared.append((name, result, against.get(name, ""), *ratios))
    return compared


def show(found: dict[str, Result], options: argparse.Namespace) -> None:
    """Print everything as a table."""
    table = Table("what", "clock s", "cpu s", "peak MiB", "against", "clock ×", "cpu ×")
    for name, result, other, clock, busy in rows(found):
        shown = (f"{clock:.2f}", f"{busy:.2f}") if other else ("", "")
        seconds = f"{result.median:.3f}", f"{result.busy:.3f}"
        table.add_row(name, *seconds, f"{result.peak_private_mib:.0f}", other, *shown)
    title = f"{options.clients} updates of {options.parameters:,} parameters"
    Console(width=120).print(title, table)


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--parameters", type=int, default=2_500_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--no-peers", dest="peers", action="store_false")
    parser.add_argument("--store", choices=("ministack", "localstack"), default="localstack")
    parser.add_argument("--no-store", dest="store", action="store_const", const=None)
    parser.add_argument("--keep", action="store_true", help="keep the files for another run")
    options = parser.parse_args()
    found = measure(options)
    folder = ROOT / "build" / "bench" / "updates" / str(options.parameters)
    names = ["rondo", *(PEERS if options.peers else ())]
    errors = {name: largest_error(folder, options.clients, name) for name in names}
    store = store_reading(options.store, ROOT / "build") if options.store else {}
    show(found, options)
    Console(width=120).print("relative error of the mean", errors)
    Console(width=120).print("through the store", store)
    machine.write_report(
        "aggregation",
        {**machine.versions("numpy", "numba", "boto3"), **PEERS},
        {
            "clients": options.clients,
            "parameters": options.parameters,
            "results": {
                name: {
                    "seconds": result.seconds,
                    "processor_seconds": result.processor,
                    "median": result.median,
                    "processor_median": result.busy,
                    "peak_private_mib": result.peak_private_mib,
                    "against": other,
                    "ratio": clock,
                    "processor_ratio": busy,
                }
                for name, result, other, clock, busy in rows(found)
            },
            "relative_errors": errors,
            "store": store,
        },
    )
    if not options.keep:
        shutil.rmtree(ROOT / "build" / "bench" / "updates")


if __name__ == "__main__":
    main()
