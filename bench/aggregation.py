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
import subprocess
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
from rondo_core.layout import Layout, TensorSpec
from rondo_local.environments import checkout

ROOT = Path(__file__).parents[1]
TENSORS = 8
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


def write_updates(folder: Path, clients: int, parameters: int) -> None:
    """Write a random update for each client, unless it is there."""
    folder.mkdir(parents=True, exist_ok=True)
    share = parameters // TENSORS
    sizes = [share] * (TENSORS - 1) + [parameters - share * (TENSORS - 1)]
    layout = Layout(tuple(TensorSpec(f"layer_{k}/kernel", (n,)) for k, n in enumerate(sizes)))
    for client in range(clients):
        path = folder / f"{client:04}.safetensors"
        if path.exists() and path.stat().st_size == layout.size_bytes:
            continue
        values = np.random.default_rng(client).standard_normal(parameters, np.float32)
        path.write_bytes(layout.prefix + (values * np.float32(0.01)).tobytes())


def ours(part: str, folder: Path, clients: int, repeats: int) -> Result:
    """Measure one of our parts in its own process."""
    return _result(run(_ours(part, folder, clients, repeats)))


def two_workers(part: str, folder: Path, clients: int, repeats: int) -> Result:
    """Measure two processes that do half of a part each; the slower one counts."""
    seconds, busy, peak = [], [], 0.0
    for _ in range(repeats):
        results = [_result(output) for output in together(part, folder, clients, 2)]
        seconds.append(max(result.median for result in results))
        busy.append(max(result.busy for result in results))
        peak = max(peak, *(result.peak_private_mib for result in results))
    return Result(tuple(seconds), tuple(busy), peak)


def together(part: str, folder: Path, clients: int, workers: int) -> list[str]:
    """Share a part among processes that begin at the same time; return what each reports."""
    started = [
        subprocess.Popen(
            [*_ours(part, folder, clients, 1), f"{share}/{workers}"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for share in range(workers)
    ]
    for process in started:
        assert process.stdout is not None  # noqa: S101 - it was asked for
        process.stdout.readline()
    for process in started:
        assert process.stdin is not None  # noqa: S101 - it was asked for
        process.stdin.write("go\n")
        process.stdin.flush()
    return [process.communicate()[0] for process in started]


def peer(name: str, what: str, folder: Path, clients: int, repeats: int) -> Result | None:
    """Measure a peer in its own environment, which is made at first."""
    python = peer_python(name)
    arguments = [what, str(folder), str(clients), str(repeats)]
    output = run([python, "-m", f"bench.peers.{name}", *arguments])
    return None if what == "write" else _result(output)


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


def _ours(part: str, folder: Path, clients: int, repeats: int) -> list[str]:
    arguments = [part, str(folder), str(clients), str(repeats)]
    return [sys.executable, "-m", "bench.aggregation_parts", *arguments]


def _result(output: str) -> Result:
    found: dict[str, Any] = json.loads(output.strip().splitlines()[-1])
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
    store = store_reading(options.store, checkout() / "build") if options.store else {}
    table = Table("what", "clock s", "cpu s", "peak MiB", "against", "clock ×", "cpu ×")
    for name, result, other, clock, busy in rows(found):
        shown = (f"{clock:.2f}", f"{busy:.2f}") if other else ("", "")
        seconds = f"{result.median:.3f}", f"{result.busy:.3f}"
        table.add_row(name, *seconds, f"{result.peak_private_mib:.0f}", other, *shown)
    console = Console(width=120)
    console.print(f"{options.clients} updates of {options.parameters:,} parameters", table)
    console.print("relative error of the mean", errors)
    console.print("through the store", store)
    written = {
        "command": " ".join(["python -m bench.aggregation", *sys.argv[1:]]),
        "machine": machine.machine(),
        "versions": {**machine.versions("numpy", "numba", "boto3"), **PEERS},
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
    }
    target = ROOT / "build" / "bench" / "aggregation.json"
    target.write_text(json.dumps(written, indent=2) + "\n")
    if not options.keep:
        shutil.rmtree(ROOT / "build" / "bench" / "updates")


if __name__ == "__main__":
    main()
