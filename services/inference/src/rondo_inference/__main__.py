"""The command ``rondo-inference``: serve, or say whether the process that serves here is ready."""

import os
import sys
from pathlib import Path

from rondo_core.program import run_program
from rondo_core.settings import read_settings
from rondo_inference.command import environment, options_of
from rondo_inference.settings import Settings

__all__ = ["main"]


def main() -> None:
    """Follow the store until SIGTERM (no word), serve a folder (``serve``), or ask for health."""
    if sys.argv[1:2] == ["serve"]:
        _serve()
    else:
        run_program("rondo-inference", {"follow": _serve}, port=_port, default="follow")


def _serve() -> None:
    from rondo_inference.main import main as serve  # noqa: PLC0415  (a health check needs none of it)

    serve()


def _port() -> int:
    """Return the port of the container's first process, which may have options of its own."""
    file = Path("/proc/1/cmdline")
    options = options_of(file.read_bytes()) if file.exists() else []
    return read_settings(Settings, environment(options, os.environ)).port


if __name__ == "__main__":
    main()
