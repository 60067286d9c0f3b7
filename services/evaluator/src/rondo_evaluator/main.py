"""The evaluator process: settings, ports, run, stop on SIGTERM."""

import os
import tempfile
from functools import partial
from pathlib import Path

from rondo_core.aws import connect
from rondo_core.clock import SystemClock
from rondo_core.events import EvaluationRequested
from rondo_core.relay import relay
from rondo_core.service import run_worker
from rondo_core.settings import read_settings
from rondo_core.telemetry import Metrics, configure_logging
from rondo_core.tracing import start_tracing
from rondo_evaluator.domain.changes import SERVICE
from rondo_evaluator.handlers.evaluate import on_evaluation_requested
from rondo_evaluator.handlers.ports import Ports
from rondo_evaluator.keras_bench import KerasBench
from rondo_evaluator.settings import Settings

__all__ = ["main"]


def main() -> None:
    """Run until SIGTERM or SIGINT."""
    settings = read_settings(Settings, os.environ)
    configure_logging(SERVICE, level=settings.log_level)
    start_tracing(SERVICE, os.environ)
    aws, metrics = connect(settings), Metrics()
    with tempfile.TemporaryDirectory() as scratch:
        ports = Ports(
            store=aws.run_store,
            model_store=aws.model_store,
            bench=KerasBench(Path(scratch)),
            publish=aws.publish(f"rondo/{SERVICE}"),
            workflow=aws.workflow,
            clock=SystemClock(),
            metrics=metrics,
        )
        run_worker(
            source=aws.event_source(SERVICE),
            handlers={EvaluationRequested: partial(on_evaluation_requested, ports=ports)},
            sweep=partial(
                relay,
                service=SERVICE,
                store=ports.store,
                publish=ports.publish,
                clock=ports.clock,
                metrics=metrics,
            ),
            sweep_seconds=settings.sweep_seconds,
            settings=settings,
            metrics=metrics,
        )
