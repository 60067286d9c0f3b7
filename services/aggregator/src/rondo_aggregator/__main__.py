"""The command ``rondo-aggregator``: its processes, what is started by hand, and health."""

import os

from rondo_core.program import Command, run_program
from rondo_core.settings import ServiceSettings, read_settings

__all__ = ["main"]


def main() -> None:
    """Work as ``intake`` or ``worker`` until SIGTERM, combine or replay, or ask for health."""
    run_program(
        "rondo-aggregator",
        {
            "intake": Command(_work, "turn messages into tasks until SIGTERM"),
            "worker": Command(_work, "run tasks until SIGTERM"),
            "combine": Command(_work, "combine files, as a round is combined", own_options=True),
            "replay": Command(_work, "combine a past round again and compare", own_options=True),
        },
        port=_port,
    )


def _work() -> None:
    from rondo_aggregator.main import main as work  # noqa: PLC0415  (a health check needs none)

    work()


def _port() -> int:
    return read_settings(ServiceSettings, os.environ).health_port


if __name__ == "__main__":
    main()
