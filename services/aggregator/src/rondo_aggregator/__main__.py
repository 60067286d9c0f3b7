"""The command ``rondo-aggregator``: one of its two processes, or whether the one here is ready."""

import os

from rondo_core.program import run_program
from rondo_core.settings import ServiceSettings, read_settings

__all__ = ["main"]


def main() -> None:
    """Work as ``intake`` or ``worker`` until SIGTERM, or ask for health."""
    run_program("rondo-aggregator", {"intake": _work, "worker": _work}, port=_port)


def _work() -> None:
    from rondo_aggregator.main import main as work  # noqa: PLC0415  (a health check needs none)

    work()


def _port() -> int:
    return read_settings(ServiceSettings, os.environ).health_port


if __name__ == "__main__":
    main()
