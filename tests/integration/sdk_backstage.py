"""Who works behind the gateway: dispatcher, aggregator, and a stand-in for the evaluator."""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Self

from rondo_aggregator.adapters.file_objects import FileCache, FileObjects
from rondo_aggregator.domain.attempt import Attempt
from rondo_aggregator.handlers.intake import intake_handlers
from rondo_aggregator.handlers.ports import Worker
from rondo_aggregator.handlers.sweep import Sweeper
from rondo_aggregator.strategies.registry import named
from rondo_aggregator.tasks import WorkerPorts, run_combine, run_partial, run_products, run_validate
from rondo_core.clock import SystemClock
from rondo_core.cloud_events import decode_event
from rondo_core.consumer import consume_once
from rondo_core.events import EvaluationRequested, VersionPromoted
from rondo_core.keys import run_key
from rondo_core.rows import RunRow, from_item
from rondo_core.telemetry import Metrics
from rondo_core.testing import (
    MemoryBus,
    MemoryModelStore,
    MemoryRunStore,
    MemoryWorkflow,
)
from rondo_dispatcher.handlers.ports import Ports as DispatcherPorts
from rondo_dispatcher.handlers.sweeping import Sweep
from rondo_dispatcher.handlers.table import handler_table

__all__ = ["Backstage"]

SWEEP_SECONDS = 0.2


@dataclass
class InlineJobs:
    """Tasks in a list, for the thread that works them off."""

    tasks: deque[Callable[[WorkerPorts], None]] = field(default_factory=deque)

    def validate(self, attempt: Attempt, clients: Sequence[str]) -> None:
        self.tasks.append(lambda ports: run_validate(attempt, clients, ports))

    def combine(self, attempt: Attempt, *, take_over: int | None = None) -> None:
        self.tasks.append(lambda ports: run_combine(attempt, take_over, ports))

    def make_partial(self, attempt: Attempt, *, manifest: str, width: int, index: int) -> None:
        self.tasks.append(lambda ports: run_partial(attempt, manifest, width, index, ports))

    def sum_products(self, attempt: Attempt, *, manifest: str, width: int, index: int) -> None:
        self.tasks.append(lambda ports: run_products(attempt, manifest, width, index, ports))


class Backstage:
    """Dispatcher, aggregator and a stand-in for the evaluator, in one thread."""

    def __init__(self, store: MemoryRunStore, objects: MemoryModelStore, folder: Path) -> None:
        self.store, self.objects, clock = store, objects, SystemClock()
        self.bus = MemoryBus(clock)
        self.workflow = MemoryWorkflow(self.bus, clock)
        self.metrics = Metrics()
        self._jobs = InlineJobs()
        self._dispatcher = DispatcherPorts(
            store=store,
            model_store=objects,
            publish=self.bus.publish,
            workflow=self.workflow,
            clock=clock,
            metrics=self.metrics,
        )
        self._worker = WorkerPorts(
            store=store,
            objects=FileObjects(objects, FileCache(folder, max_bytes=1_000_000)),
            jobs=self._jobs,
            publish=self.bus.publish,
            clock=clock,
            metrics=self.metrics,
            worker=Worker("worker-1", 1000, partial(named, owned=lambda _: None)),
        )
        self._sweeps: tuple[Callable[[], object], ...] = (
            Sweep(self._dispatcher),
            Sweeper(
                store=store,
                models=objects,
                jobs=self._jobs,
                publish=self.bus.publish,
                clock=clock,
                metrics=self.metrics,
                lease_seconds=5.0,
            ),
        )
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="backstage")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _work(self) -> None:
        swept = 0.0
        while not self._stop.is_set():
            self._consume("dispatcher", handler_table(self._dispatcher))
            self._consume("aggregator", intake_handlers(self._jobs))
            while self._jobs.tasks:
                self._jobs.tasks.popleft()(self._worker)
            self._promote()
            if time.monotonic() > swept + SWEEP_SECONDS:
                for sweep in self._sweeps:
                    sweep()
                swept = time.monotonic()

    def _consume(self, service: str, handlers: Any) -> None:
        consume_once(self.bus.source(service), handlers, self.metrics, wait_seconds=0.005)

    def _promote(self) -> None:
        """Stand in for the evaluator, which needs TensorFlow: every version is good enough."""
        source = self.bus.source("evaluator")
        for delivery in source.receive(wait_seconds=0):
            event = decode_event(delivery.body)
            assert isinstance(event, EvaluationRequested)
            self.workflow.succeed(event.task_token, {})
            promoted = VersionPromoted(
                event_id=f"VersionPromoted/{event.run_id}",
                run_id=event.run_id,
                occurred_at=SystemClock().now(),
                model=self._model_of(event.run_id),
                version=event.state.rounds,
                model_version=1,
                sha256="a" * 64,
            )
            self.bus.publish(promoted)
            source.acknowledge([delivery])

    def _model_of(self, run_id: str) -> str:
        return from_item(self.store.get(run_key(run_id)) or {}, RunRow).model
