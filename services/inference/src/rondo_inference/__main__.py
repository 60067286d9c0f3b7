"""The command ``rondo-inference``: serve, score batch jobs, or say whether it is ready."""

import os
from functools import partial
from pathlib import Path

from rondo_core.program import Command, run_program
from rondo_inference.command import health_port

__all__ = ["main"]


def main() -> None:
    """Follow the store until SIGTERM (no word), serve a folder (``serve``), or ask for health.

    ``batch-intake`` and ``batch-worker`` are the two processes of batch jobs.
    """
    run_program(
        "rondo-inference",
        {
            "follow": Command(_serve, "serve what the store names until SIGTERM"),
            "serve": Command(_serve, "serve a folder; serve --help", own_options=True),
            "batch-intake": Command(
                partial(_batch, "batch-intake"), "turn batch jobs into tasks until SIGTERM"
            ),
            "batch-worker": Command(
                partial(_batch, "batch-worker"), "run the tasks of batch jobs until SIGTERM"
            ),
        },
        port=_port,
        default="follow",
    )


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
