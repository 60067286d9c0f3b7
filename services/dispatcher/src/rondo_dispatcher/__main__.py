"""The command ``rondo-dispatcher``: work, or say whether the process that works here is ready."""

import os

from rondo_core.program import Command, run_program
from rondo_core.settings import ServiceSettings, read_settings

__all__ = ["main"]


def main() -> None:
    """Work until SIGTERM (``serve``, which may be left out), or ask for health."""
    serve = Command(_serve, "open and close rounds until SIGTERM")
    run_program("rondo-dispatcher", {"serve": serve}, port=_port, default="serve")


def _serve() -> None:
    from rondo_dispatcher.main import main as serve  # noqa: PLC0415  (a health check needs none of it)

    serve()


def _port() -> int:
    return read_settings(ServiceSettings, os.environ).health_port


if __name__ == "__main__":
    main()
