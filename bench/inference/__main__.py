"""Measures, prints, writes; see the package."""

import argparse
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

import bench.inference
from bench import machine
from bench.inference.lifecycle import many_models, swaps
from bench.inference.promptness import large_bodies, pings, starts
from bench.inference.servers import BUILD, MODELS, ours, servers
from bench.inference.speed import compare, one_connection, tiny

PARTS = ("servers", "one connection", "tiny", "swaps", "many models", "pings", "large bodies",
         "starts")  # fmt: skip


def show(found: Mapping[str, Any], console: Console) -> None:
    """Print the comparison; parts that were not measured are left out."""
    table = Table(
        "server", "request", "conn.", "requests/s", "p50 us", "p99 us", "CPU us", "ours ×"
    )
    compared = found.get("servers", {})
    for name, kinds in compared.items():
        for kind, one in kinds.items():
            if not isinstance(one, dict):
                continue
            same_bytes = "oip json" if (name, kind) == ("mlserver", "json") else kind
            own = compared["rondo"][same_bytes]
            ratio = own["requests_per_second"] / one["requests_per_second"]
            table.add_row(
                name, kind, "1" if kind.startswith("rows") else "16",
                f"{one['requests_per_second']:.0f}", f"{one['p50_us']:.0f}", f"{one['p99_us']:.0f}",
                f"{one['cpu_us']:.0f}", f"{ratio:.2f}",
            )  # fmt: skip
    for name, one in found.get("one connection", {}).items():
        over = "floor {over_floor_p50_us:+.0f} us" if "over_floor_p50_us" in one else ""
        rate = f"{one['requests_per_second']:.0f}" if "requests_per_second" in one else ""
        p99 = f"{one['p99_us']:.0f}" if "p99_us" in one else ""
        table.add_row(
            name, "", "1", rate, f"{one['p50_us']:.0f}", p99, f"{one['cpu_us']:.0f}",
            over.format_map(one),
        )  # fmt: skip
    if table.row_count:
        console.print(table)
    for name, one in found.get("tiny", {}).items():
        console.print("784-128-10", name, {key: round(value, 2) for key, value in one.items()})
    _show_lives(found, console)


def _show_lives(found: Mapping[str, Any], console: Console) -> None:
    for name in [one for one in ("swaps", "many models") if one in found]:
        console.print(name, {key: round(one, 2) for key, one in found[name].items()})
    for name, one in found.get("large bodies", {}).items():
        console.print("/ping beside", name, {key: round(value, 1) for key, value in one.items()})
    for name in [one for one in ("pings", "starts") if one in found]:
        console.print(name, {key: round(one, 2) for key, one in found[name].items()})


def _compared(only: Sequence[str] | None, turns: int, seconds: float) -> object:
    with tempfile.TemporaryDirectory() as text:
        found = servers(MODELS / "digits" / "1" / "model.onnx", Path(text))
        wanted = found if only is None else {"rondo", *only}
        return compare({name: found[name] for name in found if name in wanted}, turns, seconds)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=bench.inference.__doc__)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--only", nargs="*", default=None)
    parser.add_argument("--swaps", type=int, default=100)
    parser.add_argument("--models", type=int, default=1000)
    parser.add_argument("--parts", nargs="*", choices=PARTS, default=PARTS)
    options = parser.parse_args()
    BUILD.mkdir(parents=True, exist_ok=True)
    if not (MODELS / "digits").exists():
        raise SystemExit("there is no build/models: run `make sample-models`")
    turns, seconds = options.turns, options.seconds
    measure: dict[str, Callable[[], object]] = {
        "servers": lambda: _compared(options.only, turns, seconds),
        "one connection": lambda: one_connection(ours(), turns, seconds),
        "tiny": lambda: tiny(turns, seconds),
        "swaps": lambda: swaps(options.swaps),
        "many models": lambda: many_models(options.models, held=20),
        "pings": lambda: pings(turns * seconds),
        "large bodies": large_bodies,
        "starts": starts,
    }
    load = os.getloadavg()[0]
    result: dict[str, Any] = {part: measure[part]() for part in options.parts}
    machine.write_report(
        "inference",
        machine.versions("onnxruntime", "uvloop", "httptools", "numpy"),
        {"load_before": load, **result},
    )
    show(result, Console())


if __name__ == "__main__":
    main()
