"""The batch side's two processes, ``batch-intake`` and ``batch-worker``: open ports, work."""

import os
from collections.abc import Sequence
from functools import partial

from celery import Celery

from rondo_core.aws import connect
from rondo_core.celery_worker import new_app, work
from rondo_core.clock import SystemClock
from rondo_core.events import BatchRequested
from rondo_core.layout import Float32Array
from rondo_core.metrics_pipe import pipe_to
from rondo_core.model_spec import ModelSpec
from rondo_core.service import run_worker
from rondo_core.settings import read_settings
from rondo_core.telemetry import Metrics, configure_logging
from rondo_core.tracing import start_tracing
from rondo_inference.batch.models import StoredModels
from rondo_inference.batch.ports import ChunkLimits, Ports
from rondo_inference.batch.settings import BatchSettings
from rondo_inference.batch.sweep import BatchSweeper, ask_for_plans
from rondo_inference.batch.tasks import BatchWorker, CeleryHints, build_app
from rondo_inference.contracts.pictures import decode_pictures
from rondo_inference.domain.batch_job import SERVICE
from rondo_inference.engines.runtimes import open_engines
from rondo_inference.registry.heap import keep_large_apart

__all__ = ["open_worker", "run"]


def run(process: str) -> None:
    """Run one of the two processes; blocks until SIGTERM or SIGINT."""
    settings = read_settings(BatchSettings, os.environ)
    configure_logging(process, level=settings.log_level)
    start_tracing(process, os.environ)
    {"batch-intake": _intake, "batch-worker": _worker}[process](settings)


def _ports(settings: BatchSettings) -> Ports:
    aws = connect(settings)
    return Ports(
        rows=aws.run_store,
        objects=aws.model_store,
        folders=aws.object_folders,
        publish=aws.publish(f"rondo/{SERVICE}"),
        clock=SystemClock(),
        bucket=aws.names.bucket,
        region=settings.aws_region,
    )


def _intake(settings: BatchSettings) -> None:
    hints, metrics = CeleryHints(new_app(SERVICE, settings)), Metrics()
    run_worker(
        source=connect(settings).event_source(SERVICE),
        handlers={BatchRequested: partial(ask_for_plans, hints=hints)},
        sweep=BatchSweeper(
            ports=_ports(settings),
            hints=hints,
            lanes=settings.lanes,
            lease_seconds=settings.lease_seconds,
            metrics=metrics,
        ),
        sweep_seconds=settings.sweep_seconds,
        settings=settings,
        metrics=metrics,
    )


def _worker(settings: BatchSettings) -> None:
    metrics = Metrics()
    with pipe_to(metrics) as piped:
        work(build_app(settings, partial(open_worker, settings, piped)), settings, metrics)


def open_worker(settings: BatchSettings, metrics: Metrics, app: Celery) -> BatchWorker:
    """Open the ports of one process of a worker, after it was forked."""
    keep_large_apart()
    ports = _ports(settings)

    def pictures(spec: ModelSpec, files: Sequence[bytes]) -> Float32Array:
        return decode_pictures(spec, files, fit=settings.picture_size)

    return BatchWorker(
        ports=ports,
        models=StoredModels(
            ports.objects,
            engines=open_engines(
                settings.engines,
                threads=settings.intra_op_threads,
                copies=1,
                largest=settings.engine_rows,
            ),
            pictures=pictures,
        ),
        hints=CeleryHints(app),
        limits=ChunkLimits(
            chunk_bytes=settings.chunk_bytes,
            record_bytes=settings.record_bytes,
            lanes=settings.lanes,
            engine_rows=settings.engine_rows,
        ),
        metrics=metrics,
        lease_seconds=settings.lease_seconds,
    )
