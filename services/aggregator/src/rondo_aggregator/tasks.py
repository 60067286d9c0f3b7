"""The Celery door: the app and its four tasks.

A task carries ids only, as JSON, and has no result: it is a wake-up call that may be lost or come
twice. The rows say what is to be done, and the sweep repeats what nobody did.
"""

import logging
import time
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial

from celery import Celery
from celery.signals import worker_process_init

from rondo_aggregator.adapters.celery_app import new_app
from rondo_aggregator.adapters.celery_jobs import COMBINE, PARTIAL, PRODUCTS, VALIDATE
from rondo_aggregator.domain.attempt import Attempt
from rondo_aggregator.handlers.combine import combine_round
from rondo_aggregator.handlers.judge import judge_updates
from rondo_aggregator.handlers.mixing import sum_products
from rondo_aggregator.handlers.partials import make_partial, move_lease
from rondo_aggregator.handlers.ports import Jobs, Objects, Worker
from rondo_aggregator.settings import AggregatorSettings
from rondo_core.bus import Publish
from rondo_core.celery_worker import task_span
from rondo_core.clock import Clock
from rondo_core.errors import Unavailable
from rondo_core.lease import keep_moving
from rondo_core.run_store import RunStore
from rondo_core.telemetry import Metrics

__all__ = [
    "WorkerPorts",
    "build_app",
    "run_combine",
    "run_partial",
    "run_products",
    "run_task",
    "run_validate",
]

log = logging.getLogger(__name__)

_LEASE_MOVES = 3
"""How often a lease moves in the time after which it counts as abandoned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerPorts:
    """What each process of a worker opens after it was forked."""

    store: RunStore
    objects: Objects
    jobs: Jobs
    publish: Publish
    clock: Clock
    metrics: Metrics
    worker: Worker


def build_app(settings: AggregatorSettings, open_ports: Callable[[Celery], WorkerPorts]) -> Celery:
    """Build a worker's Celery app; opens nothing.

    Args:
        settings: of broker, queue and times.
        open_ports: called with the app in each of the worker's processes, after the fork.
    """
    app = new_app(settings)
    opened = _Opened(partial(open_ports, app))
    worker_process_init.connect(opened.open)  # weakly: the tasks keep it alive
    _add_tasks(app, opened, settings.lease_seconds / _LEASE_MOVES)
    return app


class _Opened:
    """The ports of this process, once it is a worker's child.

    Celery logs what a signal's receiver raises and goes on. So a child that found no network when
    it was forked tries again at its next task.
    """

    def __init__(self, open_ports: Callable[[], WorkerPorts]) -> None:
        self._open_ports = open_ports
        self._ports: list[WorkerPorts] = []

    def open(self, **_: object) -> None:
        self._ports.append(self._open_ports())

    def __call__(self) -> WorkerPorts:
        if not self._ports:
            self.open()
        return self._ports[-1]


def _add_tasks(app: Celery, ports: Callable[[], WorkerPorts], every_seconds: float) -> None:
    def leased(attempt: Attempt) -> AbstractContextManager[None]:
        move = partial(move_lease, attempt, store=ports().store)
        return keep_moving(move, every_seconds=every_seconds)

    @app.task(name=VALIDATE, shared=False)
    def validate(run_id: str, round_: int, attempt: int, *, clients: list[str]) -> None:
        run_validate(Attempt(run_id, round_, attempt), clients, ports())

    @app.task(name=COMBINE, shared=False)
    def combine(run_id: str, round_: int, attempt: int, *, take_over: int | None) -> None:
        which = Attempt(run_id, round_, attempt)
        with leased(which):
            run_combine(which, take_over, ports())

    @app.task(name=PARTIAL, shared=False)
    def make_partial(
        run_id: str, round_: int, attempt: int, *, manifest: str, width: int, index: int
    ) -> None:
        which = Attempt(run_id, round_, attempt)
        with leased(which):
            run_partial(which, manifest, width, index, ports())

    @app.task(name=PRODUCTS, shared=False)
    def products(
        run_id: str, round_: int, attempt: int, *, manifest: str, width: int, index: int
    ) -> None:
        which = Attempt(run_id, round_, attempt)
        with leased(which):
            run_products(which, manifest, width, index, ports())


def run_validate(attempt: Attempt, clients: Collection[str], ports: WorkerPorts) -> None:
    """Judge updates, as the task ``rondo.validate``."""

    def body() -> str:
        return judge_updates(
            attempt,
            clients,
            store=ports.store,
            objects=ports.objects,
            jobs=ports.jobs,
            publish=ports.publish,
            now=ports.clock.now(),
            metrics=ports.metrics,
        )

    run_task("validate", attempt, body, ports)


def run_combine(attempt: Attempt, take_over: int | None, ports: WorkerPorts) -> None:
    """Make a version, as the task ``rondo.combine``."""

    def body() -> str:
        with ports.metrics.timed("rondo_combine_seconds", kind="round"):
            outcome = combine_round(
                attempt,
                take_over,
                worker=ports.worker,
                store=ports.store,
                objects=ports.objects,
                jobs=ports.jobs,
                publish=ports.publish,
                now=ports.clock.now(),
            )
        if outcome == "committed":
            ports.metrics.count("rondo_versions_committed_total")
        return outcome

    run_task("combine", attempt, body, ports)


def run_partial(
    attempt: Attempt, manifest: str, width: int, index: int, ports: WorkerPorts
) -> None:
    """Make one shard's columns, as the task ``rondo.partial``."""

    def body() -> str:
        with ports.metrics.timed("rondo_combine_seconds", kind="partial"):
            return make_partial(
                attempt,
                manifest,
                width=width,
                index=index,
                store=ports.store,
                objects=ports.objects,
                jobs=ports.jobs,
                strategies=ports.worker.strategies,
            )

    run_task("partial", attempt, body, ports)


def run_products(
    attempt: Attempt, manifest: str, width: int, index: int, ports: WorkerPorts
) -> None:
    """Sum one shard's inner products, as the task ``rondo.products``."""

    def body() -> str:
        with ports.metrics.timed("rondo_combine_seconds", kind="products"):
            return sum_products(
                attempt,
                manifest,
                width=width,
                index=index,
                store=ports.store,
                objects=ports.objects,
                jobs=ports.jobs,
                strategies=ports.worker.strategies,
            )

    run_task("products", attempt, body, ports)


def run_task(name: str, attempt: Attempt, body: Callable[[], str], ports: WorkerPorts) -> None:
    """Run a task's body, the outermost loop of a worker: nothing that it raises ends the process.

    A task that failed is done for Celery: the rows are as they were, and the sweep owns the retry.
    """
    start = time.perf_counter()
    try:
        with task_span(name):
            outcome = body()
    except Unavailable as exc:
        outcome = "retry"
        log.warning("task left to the sweep", extra={"task": name, "error": str(exc)})
    except Exception:
        outcome = "error"
        log.exception("task failed", extra={"task": name})
        ports.metrics.count("rondo_loop_failures_total", kind=name, outcome="error")
    log.info(
        "task done",
        extra={
            "task": name,
            "run_id": attempt.run_id,
            "round": attempt.round,
            "attempt": attempt.attempt,
            "outcome": outcome,
            "seconds": round(time.perf_counter() - start, 6),
        },
    )
