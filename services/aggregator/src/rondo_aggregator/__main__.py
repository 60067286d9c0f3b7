"""The command ``rondo-aggregator``: its processes, what is started by hand, and health."""

import os

from rondo_core.program import run_program
from rondo_core.settings import ServiceSettings, read_settings

__all__ = ["main"]


def main() -> None:
    """Work as ``intake`` or ``worker`` until SIGTERM, combine or replay, or ask for health."""
    run_program(
        "rondo-aggregator",
        {"intake": _work, "worker": _work},
        port=_port,
        commands={"combine": _work, "replay": _work},
    )


def _work() -> None:
    from rondo_aggregator.main import main as work  # noqa: PLC0415  (a health check needs none)

    work()


def _port() -> int:
    return read_settings(ServiceSettings, os.environ).health_port


if __name__ == "__main__":
    main()
