"""The command ``rondo-gateway``: serve, or say whether the process that serves here is ready."""

import os

from rondo_core.program import Command, run_program
from rondo_core.settings import read_settings
from rondo_gateway.settings import Settings

__all__ = ["main"]


def main() -> None:
    """Serve until SIGTERM (``serve``, which may be left out), or ask for health."""
    serve = Command(_serve, "answer clients and operators until SIGTERM")
    run_program("rondo-gateway", {"serve": serve}, port=_port, default="serve")


def _serve() -> None:
    from rondo_gateway.main import main as serve  # noqa: PLC0415  (a health check needs none of it)

    serve()


def _port() -> int:
    return read_settings(Settings, os.environ).port


if __name__ == "__main__":
    main()
