"""The command ``rondo-inference``: serve, score batch jobs, or say whether it is ready."""

import os
import sys
from functools import partial
from pathlib import Path

from rondo_core.program import run_program
from rondo_inference.command import BATCH_PROCESSES, health_port

__all__ = ["main"]


def main() -> None:
    """Follow the store until SIGTERM (no word), serve a folder (``serve``), or ask for health.

    ``batch-intake`` and ``batch-worker`` are the two processes of batch jobs.
    """
    if sys.argv[1:2] == ["serve"]:
        _serve()
    else:
        batch = {word: partial(_batch, word) for word in BATCH_PROCESSES}
        work = {"follow": partial(_serve), **batch}
        run_program("rondo-inference", work, port=_port, default="follow")


def _serve() -> None:
    from rondo_inference.main import main as serve  # noqa: PLC0415  (a health check needs none of it)

    serve()


def _batch(process: str) -> None:
    from rondo_inference.batch_main import run  # noqa: PLC0415  (likewise)

    run(process)


def _port() -> int:
    """Return the port of the container's first process, which may have options of its own."""
    file = Path("/proc/1/cmdline")
    return health_port(file.read_bytes() if file.exists() else b"", os.environ)


if __name__ == "__main__":
    main()
