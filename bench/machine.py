"""What every benchmark writes, beside its figures: machine, versions and command."""

import os
import platform
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import msgspec

from rondo_local.environments import checkout

__all__ = ["machine", "versions", "write_report"]


def machine() -> dict[str, str | int | float]:
    """Return processor, cores, memory and system."""
    cpus = [
        line.split(":", 1)[1].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "processor": cpus[0] if cpus else platform.machine(),
        "cores": os.cpu_count() or 0,
        "memory_gib": round(memory / 2**30, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
    }


def versions(*packages: str) -> dict[str, str]:
    """Return package -> installed version."""
    return {package: version(package) for package in packages}


def write_report(name: str, versions: Mapping[str, str], found: Mapping[str, object]) -> None:
    """Write ``build/bench/NAME.json``.

    Args:
        name: of the benchmark, which is also its module's in ``bench``.
        versions: package -> version.
        found: figures by name, as JSON takes them.
    """
    report = {
        "command": " ".join([f"python -m bench.{name}", *sys.argv[1:]]),
        "machine": machine(),
        "versions": versions,
        **found,
    }
    target = checkout() / "build" / "bench" / f"{name}.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
