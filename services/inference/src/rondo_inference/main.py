"""Starts the inference service: the one place where its parts are put together."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from rondo_core.aws import connect
from rondo_core.clock import SystemClock
from rondo_core.settings import read_settings
from rondo_core.telemetry import Metrics, configure_logging
from rondo_inference.contracts.table import every_route
from rondo_inference.domain.cpus import usable_cpus
from rondo_inference.engines import open_onnx
from rondo_inference.handlers import predict
from rondo_inference.registry.catalogue import Catalogue
from rondo_inference.registry.loader import load_version
from rondo_inference.registry.watcher import Watcher, watch
from rondo_inference.settings import Settings
from rondo_inference.web.app import HttpApp
from rondo_inference.web.server import DrainingServer

__all__ = ["main"]


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    settings = read_settings(Settings, os.environ)
    configure_logging("inference", level=settings.log_level)
    ports, clock = connect(settings), SystemClock()
    metrics, catalogue = Metrics(), Catalogue()
    stop, draining = threading.Event(), threading.Event()
    open_engine = partial(open_onnx, threads=settings.intra_op_threads)
    watcher = Watcher(
        rows=ports.run_store,
        catalogue=catalogue,
        load=partial(load_version, store=ports.model_store, open_engine=open_engine),
        clock=clock,
        metrics=metrics,
    )
    refresh = settings.model_refresh_seconds
    following = partial(watch, watcher, stop=stop, seconds=refresh, metrics=metrics)
    thread = threading.Thread(target=following, name="watcher", daemon=True)
    routes = every_route(
        catalogue,
        partial(predict, metrics=metrics),
        metrics=metrics.registry,
        ready=lambda: catalogue.ready and not draining.is_set(),
    )
    threads = settings.threads or usable_cpus(len(os.sched_getaffinity(0)), _cpu_max())
    with ThreadPoolExecutor(threads, thread_name_prefix="predict") as workers:
        app = HttpApp(routes, metrics, workers, settings.max_body_bytes, draining.is_set)
        server = DrainingServer(
            app,
            host=settings.host,
            port=settings.port,
            draining=draining,
            drain_seconds=settings.drain_seconds,
            clock=clock,
        )
        thread.start()
        server.run_until_signalled()
        stop.set()
    thread.join(timeout=5)


def _cpu_max() -> str:
    file = Path("/sys/fs/cgroup/cpu.max")
    return file.read_text() if file.exists() else ""


if __name__ == "__main__":
    main()
