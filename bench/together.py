"""Processes that share a measurement: all warm up, then begin in the same moment."""

import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from rondo_local.environments import checkout

__all__ = ["await_the_others", "together"]

_READY = "ready\n"


def together(module: str, arguments: Sequence[str], workers: int) -> list[dict[str, Any]]:
    """Start workers that share a piece of work; return what each reports.

    Args:
        module: a program that calls ``await_the_others`` when it is warm, and prints JSON.
        arguments: of each, before its share, which is ``number/workers`` from 0 on.
        workers: how many.

    Raises:
        RuntimeError: one ended before it was ready.
    """
    started = [
        subprocess.Popen(
            [sys.executable, "-m", module, *arguments, f"{share}/{workers}"],
            cwd=checkout(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for share in range(workers)
    ]
    for process in started:
        if process.stdout is None or process.stdout.readline() != _READY:
            raise RuntimeError(f"the worker {process.args!r} did not start")
    for process in started:
        if process.stdin is not None:
            process.stdin.write("go\n")
            process.stdin.flush()
    return [json.loads(process.communicate()[0]) for process in started]


def await_the_others() -> None:
    """Say that this process is ready, and wait until all are."""
    sys.stdout.write(_READY)
    sys.stdout.flush()
    sys.stdin.readline()
