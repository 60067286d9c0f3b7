"""Starts the inference service: the one place where its parts are put together."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from rondo_core.aws import connect
from rondo_core.clock import SystemClock
from rondo_core.settings import read_settings
from rondo_core.telemetry import Metrics, configure_logging
from rondo_inference.contracts import operations, sagemaker, tfs
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
    ports, metrics, catalogue = connect(settings), Metrics(), Catalogue()
    threads = settings.threads or len(os.sched_getaffinity(0))
    draining, stop = threading.Event(), threading.Event()
    watcher = Watcher(
        rows=ports.run_store,
        catalogue=catalogue,
        load=partial(
            load_version,
            store=ports.model_store,
            open_engine=partial(open_onnx, threads=threads),
        ),
        clock=SystemClock(),
        metrics=metrics,
    )
    thread = threading.Thread(
        target=watch,
        args=(watcher,),
        kwargs={"stop": stop, "seconds": settings.model_refresh_seconds, "metrics": metrics},
        name="watcher",
        daemon=True,
    )
    bound = partial(predict, metrics=metrics)

    def ready() -> bool:
        return catalogue.ready and not draining.is_set()

    with ThreadPoolExecutor(threads, thread_name_prefix="predict") as workers:
        app = HttpApp(
            routes=(
                *tfs.routes(catalogue, bound),
                *sagemaker.routes(catalogue, bound, ready),
                *operations.routes(catalogue, metrics.registry, ready),
            ),
            metrics=metrics,
            workers=workers,
            max_body_bytes=settings.max_body_bytes,
            draining=draining.is_set,
        )
        server = DrainingServer(
            app,
            host=settings.host,
            port=settings.port,
            draining=draining,
            drain_seconds=settings.drain_seconds,
        )
        thread.start()
        server.run_until_signalled()
        stop.set()
    thread.join(timeout=5)


if __name__ == "__main__":
    main()
