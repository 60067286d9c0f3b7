"""The aggregator's processes, ``intake`` and ``worker``, and what people start by hand."""

import argparse
import os
import secrets
import sys
from functools import partial

from celery import Celery

from rondo_aggregator.adapters.cache_folder import cache_folder
from rondo_aggregator.adapters.celery_app import new_app
from rondo_aggregator.adapters.celery_jobs import CeleryJobs
from rondo_aggregator.adapters.file_objects import FileCache, FileObjects
from rondo_aggregator.adapters.own_strategies import installed_strategy
from rondo_aggregator.commands.arguments import command_line
from rondo_aggregator.commands.running import run_combine_command, run_replay_command
from rondo_aggregator.domain.attempt import SERVICE
from rondo_aggregator.handlers.intake import intake_handlers
from rondo_aggregator.handlers.ports import Worker
from rondo_aggregator.handlers.sweep import Sweeper
from rondo_aggregator.settings import AggregatorSettings
from rondo_aggregator.strategies.kernels import warm
from rondo_aggregator.tasks import WorkerPorts, build_app
from rondo_core.aws import connect
from rondo_core.celery_worker import work
from rondo_core.clock import SystemClock
from rondo_core.metrics_pipe import pipe_to
from rondo_core.service import run_worker
from rondo_core.settings import read_settings
from rondo_core.telemetry import Metrics, configure_logging
from rondo_core.tracing import start_tracing

__all__ = ["main"]


def main() -> None:
    """Run a process, which blocks until SIGTERM or SIGINT, or a command."""
    options = command_line().parse_args()
    if options.process == "combine":
        sys.exit(run_combine_command(options))
    settings = read_settings(AggregatorSettings, os.environ)
    configure_logging(f"{SERVICE}-{options.process}", level=settings.log_level)
    start_tracing(f"{SERVICE}-{options.process}", os.environ)
    if options.process == "replay":
        sys.exit(_replay(settings, options))
    {"intake": _intake, "worker": _worker}[options.process](settings)


def _intake(settings: AggregatorSettings) -> None:
    aws, jobs, metrics = connect(settings), CeleryJobs(new_app(settings)), Metrics()
    run_worker(
        source=aws.event_source(SERVICE),
        handlers=intake_handlers(jobs),
        sweep=Sweeper(
            store=aws.run_store,
            models=aws.model_store,
            jobs=jobs,
            publish=aws.publish(f"rondo/{SERVICE}"),
            clock=SystemClock(),
            metrics=metrics,
            lease_seconds=settings.lease_seconds,
        ),
        sweep_seconds=settings.sweep_seconds,
        settings=settings,
        metrics=metrics,
    )


def _worker(settings: AggregatorSettings) -> None:
    metrics = Metrics()
    size = settings.cache_bytes
    warm()  # before the fork, so that no child and no task waits for the compiler
    with cache_folder(settings.cache_folder, max_bytes=size) as folder, pipe_to(metrics) as piped:
        cache = FileCache(folder, max_bytes=size)
        work(build_app(settings, partial(_open_ports, settings, cache, piped)), settings, metrics)


def _replay(settings: AggregatorSettings, options: argparse.Namespace) -> int:
    aws, size = connect(settings), settings.cache_bytes
    with cache_folder(settings.cache_folder, max_bytes=size) as folder:
        objects = FileObjects(aws.model_store, FileCache(folder, max_bytes=size))
        return run_replay_command(options, aws.run_store, objects)


def _open_ports(
    settings: AggregatorSettings, cache: FileCache, metrics: Metrics, app: Celery
) -> WorkerPorts:
    aws = connect(settings)
    return WorkerPorts(
        store=aws.run_store,
        objects=FileObjects(aws.model_store, cache),
        jobs=CeleryJobs(app),
        publish=aws.publish(f"rondo/{SERVICE}"),
        clock=SystemClock(),
        metrics=metrics,
        worker=Worker(secrets.token_hex(8), settings.shard_columns, installed_strategy),
    )
