"""Processor time by program: it drifts less than the clock on a machine that others use too."""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Usage", "usage"]

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Usage:
    """Seconds used until now.

    Attributes:
        wall: of the monotonic clock.
        programs: program -> processor seconds of its process and of all that come from it.
        machine: processor seconds of everything that runs here.
    """

    wall: float
    programs: Mapping[str, float]
    machine: float

    def since(self, before: "Usage", rounds: int) -> dict[str, float]:
        """Return seconds per round of each program, and of all ``others`` on this machine."""
        own = {name: used - before.programs[name] for name, used in self.programs.items()}
        others = self.machine - before.machine - sum(own.values())
        return {name: round(used / rounds, 3) for name, used in {**own, "others": others}.items()}


def usage(pids: Mapping[str, int]) -> Usage:
    """Read the counters of the kernel (Linux).

    Args:
        pids: program -> its process; this one counts as ``clients``.
    """
    used, children = _processes()
    programs = {name: _tree(pid, used, children) for name, pid in pids.items()}
    machine = sum(map(int, _first_line("/proc/stat").split()[1:4])) / _TICKS
    return Usage(time.monotonic(), {"clients": time.process_time(), **programs}, machine)


def _processes() -> tuple[dict[int, float], dict[int, list[int]]]:
    used: dict[int, float] = {}
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdecimal():
            continue
        try:
            fields = _first_line(str(folder / "stat")).rpartition(")")[2].split()
        except OSError:  # it ended meanwhile
            continue
        used[int(folder.name)] = sum(map(int, fields[11:15])) / _TICKS
        children.setdefault(int(fields[1]), []).append(int(folder.name))
    return used, children


def _tree(pid: int, used: Mapping[int, float], children: Mapping[int, list[int]]) -> float:
    below = sum(_tree(child, used, children) for child in children.get(pid, ()))
    return used.get(pid, 0.0) + below


def _first_line(file: str) -> str:
    with Path(file).open(encoding="ascii", errors="replace") as lines:
        return lines.readline()
