"""Puts the parts of a process together; `main` gives it what comes from outside."""

import threading
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from rondo_core.clock import Clock
from rondo_core.errors import Invalid, NotFound, SettingsInvalid
from rondo_core.model_rows import AliasRow
from rondo_core.telemetry import Metrics
from rondo_core.tracing import tracing
from rondo_inference.batch.orders import Orders
from rondo_inference.batch.results import store_origin
from rondo_inference.batcher import Batcher
from rondo_inference.contracts.multi_model import Describe
from rondo_inference.contracts.table import DoorRules, every_route
from rondo_inference.domain.batching import BatchLimits
from rondo_inference.engine_threads import EngineThreads
from rondo_inference.engines.engine import Engine
from rondo_inference.engines.runtimes import open_engines
from rondo_inference.handlers import Inference
from rondo_inference.page.pages import Pages
from rondo_inference.page.routes import routes as page_routes
from rondo_inference.registry.catalogue import Catalogue
from rondo_inference.registry.collector import StatsCollector
from rondo_inference.registry.loader import Load, OpenBatcher
from rondo_inference.registry.loading import Loading
from rondo_inference.registry.memory import Memory
from rondo_inference.registry.standing_back import A_REQUEST_WAITS, Patience, yield_the_cpu
from rondo_inference.rules import app_rules, body_budget, connection_rules, file_rules
from rondo_inference.settings import Settings
from rondo_inference.stats import StatsBook
from rondo_inference.web.access import Access, read_keys
from rondo_inference.web.admission import Admissions
from rondo_inference.web.app import HttpApp
from rondo_inference.web.grpc_server import GrpcServer
from rondo_inference.web.refusals import refusal
from rondo_inference.web.server import DrainingServer
from rondo_inference.web.traced import TracedApp

__all__ = ["Parts", "assembled"]


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
    settings: Settings,
    load: Load,
    *,
    clock: Clock,
    cpus: int,
    describe: Describe | None = None,
    orders: Orders | None = None,
) -> Iterator[Parts]:
    """Put a process together; its threads end with the block.

    Args:
        settings: of the process.
        load: from the store or a folder.
        clock: the time.
        cpus: how many the process may use.
        describe: for the multi-model contract; None: it is not spoken.
        orders: batch jobs; None where there is no store to keep them in.

    Raises:
        SettingsInvalid: a setting has a value that it cannot have, or names no file of keys.
    """
    with (
        ThreadPoolExecutor(settings.threads or cpus, thread_name_prefix="engine") as workers,
        ThreadPoolExecutor(max(2, cpus), thread_name_prefix="reader") as readers,
        ThreadPoolExecutor(1, "loader", yield_the_cpu, (A_REQUEST_WAITS,)) as loader,
    ):
        engines = settings.threads or cpus
        threads = EngineThreads(workers)
        plan = _Plan(settings, clock, engines, describe, orders, threads, readers, loader)
        yield _parts(plan, load)


@dataclass(frozen=True, slots=True)
class _Plan:
    """What every part is made of."""

    settings: Settings
    clock: Clock
    engines: int
    describe: Describe | None
    orders: Orders | None
    threads: EngineThreads
    readers: Executor
    loader: Executor
    metrics: Metrics = field(default_factory=Metrics)
    catalogue: Catalogue = field(default_factory=Catalogue)
    book: StatsBook = field(default_factory=StatsBook)
    draining: threading.Event = field(default_factory=threading.Event)
    patience: Patience = field(default_factory=Patience)

    def ready(self) -> bool:
        return self.catalogue.ready and not self.draining.is_set()


def _parts(plan: _Plan, load: Load) -> Parts:
    memory = _memory(plan, load)
    plan.metrics.registry.register(StatsCollector(plan.book, memory))
    loading = Loading(memory.bring, plan.catalogue, plan.loader, plan.patience)
    inference = Inference(plan.catalogue, memory, loading, plan.book, plan.metrics)
    app = _app(plan, inference)
    settings = plan.settings
    server = DrainingServer(
        TracedApp(app) if tracing() else app,
        connection_rules(settings),
        settings.host,
        settings.port,
        plan.draining,
        settings.drain_seconds,
        plan.clock,
        _grpc(plan, app) if settings.grpc_port else (),
    )
    return Parts(app, server, plan.catalogue, memory, plan.metrics)


def _grpc(plan: _Plan, app: HttpApp) -> tuple[GrpcServer, ...]:
    settings = plan.settings
    return (
        GrpcServer(
            app.inference,
            plan.ready,
            settings.host,
            settings.grpc_port,
            settings.max_body_bytes,
            settings.max_requests,
            app.readers,
            app.budget,
            app.admissions.access,
        ),
    )


def _memory(plan: _Plan, load: Load) -> Memory:
    settings = plan.settings
    return Memory(
        plan.catalogue,
        partial(
            load,
            engines=open_engines(
                settings.engines,
                threads=settings.intra_op_threads,
                copies=plan.engines,
                largest=settings.max_batch_rows,
                step=plan.patience.step,
            ),
            open_batcher=_batchers(plan),
        ),
        plan.book,
        cap_bytes=settings.model_memory_bytes,
        pinned=settings.pinned,
    )


def _batchers(plan: _Plan) -> OpenBatcher:
    settings = plan.settings
    limits = BatchLimits(
        rows=settings.max_batch_rows,
        queue_rows=settings.max_queue_rows,
        queue_seconds=settings.queue_seconds,
        engines=plan.engines,
    )

    def open_batcher(alias: AliasRow, engine: Engine, row_seconds: float) -> Batcher:
        return Batcher(
            engine.run,
            merges=engine.signature.by_row,
            limits=limits,
            threads=plan.threads,
            stats=plan.book.of(alias.model, alias.model_version),
            row_seconds=row_seconds,
        )

    return open_batcher


def _app(plan: _Plan, inference: Inference) -> HttpApp:
    settings = plan.settings
    rules = DoorRules(
        files=file_rules(settings),
        max_body_bytes=settings.max_body_bytes,
        concurrency=plan.engines,
        describe=plan.describe,
        orders=plan.orders,
    )
    many = plan.describe is not None
    routes = every_route(
        inference,
        rules=rules,
        metrics=plan.metrics.registry,
        ready=plan.ready,
        healthy=(lambda: True) if many else plan.ready,
    )
    pages = Pages.load(store_origin(plan.orders) if plan.orders is not None else None)
    shown = page_routes(inference, rules, pages, readers=plan.readers, refuse=refusal)
    return HttpApp(
        Admissions(
            (*routes, *shown), inference.catalogue, pages.failure, _access(plan), settings.cors
        ),
        inference,
        plan.readers,
        body_budget(settings),
        app_rules(settings),
    )


def _access(plan: _Plan) -> Access | None:
    file = plan.settings.api_keys_file
    if file is None:
        return None
    try:
        return read_keys(Path(file), plan.clock)
    except (Invalid, NotFound) as exc:
        raise SettingsInvalid([f"API_KEYS_FILE={exc}"]) from exc
