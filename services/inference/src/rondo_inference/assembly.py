"""Puts the parts of a process together; `main` gives it what comes from outside."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from rondo_core.clock import Clock
from rondo_core.errors import SettingsInvalid
from rondo_core.model_rows import AliasRow
from rondo_core.telemetry import Metrics
from rondo_inference.batcher import Batcher, BatchLimits
from rondo_inference.contracts.media import FileRules
from rondo_inference.contracts.multi_model import Describe
from rondo_inference.contracts.table import DoorRules, every_route
from rondo_inference.engines import Engine, open_onnx, prime
from rondo_inference.handlers import Inference
from rondo_inference.registry.catalogue import Catalogue
from rondo_inference.registry.collector import StatsCollector
from rondo_inference.registry.loader import OpenBatcher, OpenEngine
from rondo_inference.registry.loading import Loading, yield_the_cpu
from rondo_inference.registry.memory import Memory
from rondo_inference.registry.served import ServedModel
from rondo_inference.settings import Settings
from rondo_inference.stats import StatsBook
from rondo_inference.web.access import read_keys
from rondo_inference.web.app import AppRules, HttpApp
from rondo_inference.web.connection import ConnectionRules
from rondo_inference.web.grpc_server import GrpcServer
from rondo_inference.web.server import DrainingServer

__all__ = ["Load", "Parts", "assembled"]


class Load(Protocol):
    """Loads a version from wherever it is kept; see ``load_version`` and ``load_folder``."""

    def __call__(
        self, alias: AliasRow, *, open_engine: OpenEngine, open_batcher: OpenBatcher
    ) -> ServedModel:
        """Return it."""
        ...


@dataclass(frozen=True, slots=True)
class Parts:
    """A process that is put together and does not run yet.

    Attributes:
        app: answers HTTP requests.
        server: listens.
        catalogue: what is served.
        memory: loads.
        metrics: of the process.
    """

    app: HttpApp
    server: DrainingServer
    catalogue: Catalogue
    memory: Memory
    metrics: Metrics


@contextmanager
def assembled(
    settings: Settings, load: Load, *, clock: Clock, cpus: int, describe: Describe | None = None
) -> Iterator[Parts]:
    """Put a process together; its threads end with the block.

    Args:
        settings: of the process.
        load: from the store or a folder.
        clock: the time.
        cpus: how many the process may use.
        describe: for the multi-model contract; None: it is not spoken.

    Raises:
        SettingsInvalid: a setting has a value that it cannot have.
        NotFound: there is no file of keys.
        Invalid: the file of keys is malformed.
    """
    engines = settings.threads or cpus
    prime()
    with (
        ThreadPoolExecutor(engines, thread_name_prefix="engine") as workers,
        ThreadPoolExecutor(max(2, cpus), thread_name_prefix="reader") as readers,
        ThreadPoolExecutor(1, thread_name_prefix="loader", initializer=yield_the_cpu) as loader,
    ):
        yield _parts(settings, load, clock, (workers, readers, loader), engines, describe)


def _parts(  # noqa: PLR0917  (what `assembled` was given, and its threads)
    settings: Settings,
    load: Load,
    clock: Clock,
    threads: tuple[Executor, Executor, Executor],
    engines: int,
    describe: Describe | None,
) -> Parts:
    workers, readers, loader = threads
    metrics, catalogue, book, draining = Metrics(), Catalogue(), StatsBook(), threading.Event()
    memory = Memory(
        catalogue,
        partial(
            load,
            open_engine=partial(open_onnx, threads=settings.intra_op_threads),
            open_batcher=_batchers(settings, workers, book, engines),
        ),
        clock,
        book,
        cap_bytes=settings.model_memory_bytes,
        pinned=settings.pinned,
    )
    metrics.registry.register(StatsCollector(book, memory))
    inference = Inference(catalogue, memory, Loading(memory.bring, catalogue, loader), book)

    def ready() -> bool:
        return catalogue.ready and not draining.is_set()

    app = _app(settings, inference, metrics, readers, ready, engines, clock, describe)
    grpc_servers = []
    if settings.grpc_port:
        address = f"{settings.host}:{settings.grpc_port}"
        grpc_servers.append(
            GrpcServer(inference, ready, address, settings.max_body_bytes, app.access)
        )
    server = DrainingServer(
        app.respond,
        app.expect,
        _connections(settings),
        settings.host,
        settings.port,
        draining,
        settings.drain_seconds,
        clock,
        grpc_servers,
    )
    return Parts(app, server, catalogue, memory, metrics)


def _batchers(settings: Settings, workers: Executor, book: StatsBook, engines: int) -> OpenBatcher:
    limits = BatchLimits(
        rows=settings.max_batch_rows,
        queue_rows=settings.max_queue_rows,
        queue_seconds=settings.queue_seconds,
        engines=engines,
    )

    def open_batcher(alias: AliasRow, engine: Engine, row_seconds: float) -> Batcher:
        return Batcher(
            engine.run,
            merges=engine.signature.by_row,
            limits=limits,
            executor=workers,
            stats=book.of(alias.model, alias.model_version),
            row_seconds=row_seconds,
        )

    return open_batcher


def _app(  # noqa: PLR0917  (it is only the wiring)
    settings: Settings,
    inference: Inference,
    metrics: Metrics,
    readers: Executor,
    ready: Callable[[], bool],
    engines: int,
    clock: Clock,
    describe: Describe | None,
) -> HttpApp:
    fit = settings.picture_size
    if fit not in {"refuse", "resize"}:
        raise SettingsInvalid([f"PICTURE_SIZE={fit!r} is neither refuse nor resize"])
    rules = DoorRules(
        files=FileRules(
            max_bytes=4 * settings.max_body_bytes, fit="resize" if fit == "resize" else "refuse"
        ),
        max_body_bytes=settings.max_body_bytes,
        concurrency=engines,
        describe=describe,
    )
    many = describe is not None
    routes = every_route(
        inference,
        rules=rules,
        metrics=metrics.registry,
        ready=ready,
        healthy=(lambda: True) if many else ready,
    )
    keys = settings.api_keys_file
    return HttpApp(
        routes,
        inference,
        readers,
        metrics,
        AppRules(
            max_body_bytes=settings.max_body_bytes,
            max_requests=settings.max_requests,
            cors=settings.cors,
            access_log=settings.access_log,
        ),
        read_keys(Path(keys), clock) if keys else None,
    )


def _connections(settings: Settings) -> ConnectionRules:
    return ConnectionRules(
        max_body_bytes=settings.max_body_bytes,
        header_seconds=settings.header_seconds,
        body_seconds=settings.body_seconds,
        max_connections=settings.max_connections,
    )
