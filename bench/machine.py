"""What every benchmark says of the machine and the versions that it ran on."""

import os
import platform
from importlib.metadata import version
from pathlib import Path

__all__ = ["machine", "versions"]


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
