"""The dispatcher's process: reads the settings, opens the ports, works until SIGTERM."""

import os

from rondo_core.aws import connect
from rondo_core.clock import SystemClock
from rondo_core.service import run_worker
from rondo_core.settings import read_settings
from rondo_core.telemetry import Metrics, configure_logging
from rondo_core.tracing import start_tracing
from rondo_dispatcher.handlers.ports import SERVICE, Ports
from rondo_dispatcher.handlers.sweeping import Sweep
from rondo_dispatcher.handlers.table import handler_table
from rondo_dispatcher.settings import Settings

__all__ = ["main"]


def main() -> None:
    """Run the dispatcher; blocks until SIGTERM or SIGINT."""
    settings = read_settings(Settings, os.environ)
    configure_logging(SERVICE, level=settings.log_level)
    start_tracing(SERVICE, os.environ)
    aws, metrics = connect(settings), Metrics()
    ports = Ports(
        store=aws.run_store,
        model_store=aws.model_store,
        publish=aws.publish(f"rondo/{SERVICE}"),
        workflow=aws.workflow,
        clock=SystemClock(),
        metrics=metrics,
    )
    run_worker(
        source=aws.event_source(SERVICE),
        handlers=handler_table(ports),
        sweep=Sweep(ports),
        sweep_seconds=settings.sweep_seconds,
        settings=settings,
        metrics=metrics,
    )


if __name__ == "__main__":
    main()
