"""The Celery door: the hints as tasks, and the three tasks.

A task carries ids only, as JSON, and has no result: it is a wake-up call that may be lost or come
twice. Rows and objects say what is to be done, and the sweep repeats what nobody did.
"""

import logging
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial

from celery import Celery
from celery.signals import worker_process_init

from rondo_core.celery_worker import new_app, send, task_span
from rondo_core.errors import Invalid, NotFound, Unavailable
from rondo_core.lease import keep_moving
from rondo_core.run_store import CommitConflict
from rondo_core.telemetry import Metrics
from rondo_inference.batch.ending import read_job
from rondo_inference.batch.joining import join_job
from rondo_inference.batch.planning import plan_job
from rondo_inference.batch.ports import ChunkLimits, Hints, Models, Ports
from rondo_inference.batch.scoring import score_chunk
from rondo_inference.batch.settings import BatchSettings
from rondo_inference.domain.batch_changes import move_change
from rondo_inference.domain.batch_job import SERVICE

__all__ = [
    "JOIN",
    "PLAN",
    "SCORE",
    "BatchWorker",
    "CeleryHints",
    "build_app",
    "move_lease",
    "run_task",
]

log = logging.getLogger(__name__)

PLAN = "rondo.batch.plan"
SCORE = "rondo.batch.score"
JOIN = "rondo.batch.join"
_LEASE_MOVES = 3
"""How often a lease moves in the time after which a job counts as abandoned."""


class CeleryHints:
    """``Hints`` as tasks of a Celery app. Safe to use from several threads."""

    def __init__(self, app: Celery) -> None:
        self._app = app

    def plan(self, job_id: str) -> None:
        """Enqueue ``rondo.batch.plan``."""
        send(self._app, PLAN, (job_id,))

    def score(self, job_id: str, index: int) -> None:
        """Enqueue ``rondo.batch.score``."""
        send(self._app, SCORE, (job_id, index))

    def join(self, job_id: str) -> None:
        """Enqueue ``rondo.batch.join``."""
        send(self._app, JOIN, (job_id,))


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchWorker:
    """What each process of a worker opens after it was forked."""

    ports: Ports
    models: Models
    hints: Hints
    limits: ChunkLimits
    metrics: Metrics
    lease_seconds: float

    def plan(self, job_id: str) -> str:
        """Plan a job; see `plan_job`."""
        with self._leased(job_id):
            return plan_job(
                job_id,
                ports=self.ports,
                models=self.models,
                hints=self.hints,
                limits=self.limits,
            )

    def score(self, job_id: str, index: int) -> str:
        """Score a chunk; see `score_chunk`."""
        with self._leased(job_id):
            outcome = score_chunk(
                job_id,
                index,
                ports=self.ports,
                models=self.models,
                hints=self.hints,
                limits=self.limits,
            )
        self.metrics.count("rondo_batch_chunks_total", outcome=outcome.word)
        if outcome.beyond:
            self.metrics.count(
                "rondo_batch_out_of_range_total", kind=outcome.model, amount=outcome.beyond
            )
        return outcome.word

    def join(self, job_id: str) -> str:
        """Complete a job; see `join_job`."""
        with self._leased(job_id):
            outcome = join_job(job_id, ports=self.ports, models=self.models)
        self.metrics.count("rondo_batch_jobs_total", outcome=outcome)
        return outcome

    def _leased(self, job_id: str) -> AbstractContextManager[None]:
        every = self.lease_seconds / _LEASE_MOVES
        return keep_moving(partial(move_lease, job_id, self.ports), every_seconds=every)


def move_lease(job_id: str, ports: Ports) -> None:
    """Show that somebody works on a job, unless it is over or gone."""
    job = read_job(job_id, ports.rows)
    if job is not None:
        try:
            ports.rows.commit(move_change(job))
        except CommitConflict:
            log.info("job ended meanwhile", extra={"job_id": job_id})


def build_app(settings: BatchSettings, open_worker: Callable[[Celery], BatchWorker]) -> Celery:
    """Build a worker's Celery app; opens nothing.

    Args:
        settings: of broker, queue and times.
        open_worker: called with the app in each of the worker's processes, after the fork.
    """
    app = new_app(SERVICE, settings)
    opened: list[BatchWorker] = []

    def open_once(**_: object) -> BatchWorker:
        if not opened:
            opened.append(open_worker(app))
        return opened[0]

    # Celery logs what a receiver raises and goes on; the first task then tries again.
    worker_process_init.connect(open_once)  # weakly: the tasks keep it alive

    @app.task(name=PLAN, shared=False)
    def plan(job_id: str) -> None:
        worker = open_once()
        run_task("plan", job_id, partial(worker.plan, job_id), worker.metrics)

    @app.task(name=SCORE, shared=False)
    def score(job_id: str, index: int) -> None:
        worker = open_once()
        run_task("score", job_id, partial(worker.score, job_id, index), worker.metrics, index)

    @app.task(name=JOIN, shared=False)
    def join(job_id: str) -> None:
        worker = open_once()
        run_task("join", job_id, partial(worker.join, job_id), worker.metrics)

    return app


def run_task(
    name: str, job_id: str, body: Callable[[], str], metrics: Metrics, index: int | None = None
) -> None:
    """Run a task's body, the outermost loop of a worker: nothing that it raises ends the process.

    A task that failed is done for Celery: the rows are as they were, and the sweep owns the retry.
    """
    start = time.perf_counter()
    try:
        with task_span(name):
            outcome = body()
    except (Invalid, NotFound) as exc:
        outcome = "failed"
        log.warning("job failed", extra={"job_id": job_id, "error": str(exc)})
    except Unavailable as exc:
        outcome = "retry"
        log.warning("task left to the sweep", extra={"task": name, "error": str(exc)})
    except Exception:
        outcome = "error"
        log.exception("task failed", extra={"task": name})
        metrics.count("rondo_loop_failures_total", kind=name, outcome="error")
    seconds = time.perf_counter() - start
    metrics.observe("rondo_batch_seconds", seconds, kind=name, outcome=outcome)
    log.info(
        "task done",
        extra={
            "task": name,
            "job_id": job_id,
            "chunk": index,
            "outcome": outcome,
            "seconds": round(seconds, 6),
        },
    )
