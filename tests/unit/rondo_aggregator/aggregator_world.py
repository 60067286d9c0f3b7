"""An aggregator on fakes, in the middle of a round."""

import uuid
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty
from typing import Any, TypeVar

import pytest

from rondo_aggregator.adapters.celery_app import new_app
from rondo_aggregator.adapters.celery_jobs import CeleryJobs
from rondo_aggregator.adapters.file_objects import FileCache, FileObjects
from rondo_aggregator.adapters.own_strategies import installed_strategy
from rondo_aggregator.domain.attempt import Attempt
from rondo_aggregator.handlers.ports import Worker
from rondo_aggregator.handlers.sweep import Sweeper
from rondo_aggregator.settings import AggregatorSettings
from rondo_aggregator.tasks import WorkerPorts, run_combine, run_partial, run_products, run_validate
from rondo_core.bus import Publish
from rondo_core.events import Event
from rondo_core.layout import Layout
from rondo_core.manifest import Manifest
from rondo_core.settings import Secret
from rondo_core.telemetry import Metrics
from rondo_core.testing import MemoryBus
from tests.unit.rondo_aggregator.round_rows import (
    ATTEMPT,
    CLIENTS,
    LAYOUT,
    CountingModelStore,
    RoundRows,
    WatchedRunStore,
)

Kind = TypeVar("Kind", bound=Event)


@dataclass(frozen=True)
class Asked:
    """A task that was enqueued."""

    task: str
    attempt: Attempt
    arguments: dict[str, Any]


class World(RoundRows[WatchedRunStore, CountingModelStore]):
    """The rows of a round, a worker with its own cache, and everything it talks to."""

    def __init__(
        self, folder: Path, *, layout: Layout = LAYOUT, shard_columns: int = 1_000
    ) -> None:
        super().__init__(WatchedRunStore(), CountingModelStore(), layout)
        self.bus = MemoryBus()
        self.metrics = Metrics()
        self.app = new_app(memory_settings())
        self.jobs = CeleryJobs(self.app)
        self.folder = folder
        self.shard_columns = shard_columns
        self.ports = self.worker("worker-1")

    def worker(self, name: str, publish: Publish | None = None) -> WorkerPorts:
        """Return another worker's ports, with a cache of its own."""
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        return WorkerPorts(
            store=self.store,
            objects=FileObjects(self.models, FileCache(folder, max_bytes=1_000_000)),
            jobs=self.jobs,
            publish=publish or self.bus.publish,
            clock=self.clock,
            metrics=self.metrics,
            worker=Worker(name, self.shard_columns, installed_strategy),
        )

    def sweeper(self, lease_seconds: float = 5.0) -> Sweeper:
        return Sweeper(
            store=self.store,
            models=self.models,
            jobs=self.jobs,
            publish=self.bus.publish,
            clock=self.clock,
            metrics=self.metrics,
            lease_seconds=lease_seconds,
        )

    def judge(self, *clients: str, by: WorkerPorts | None = None) -> None:
        run_validate(ATTEMPT, clients, by or self.ports)

    def combine(self, *, take_over: int | None = None, by: WorkerPorts | None = None) -> None:
        run_combine(ATTEMPT, take_over, by or self.ports)

    def run_tasks(self) -> list[str]:
        """Run what was enqueued, and what that enqueues, and so on; return the tasks' names."""
        names = []
        while tasks := self.asked():
            names += [task.task for task in tasks]
            for task in tasks:
                self.run(task)
        return names

    def run(self, task: Asked) -> None:
        """Run a task that was taken out of the queue."""
        match task.task, task.arguments:
            case "rondo.validate", {"clients": clients}:
                run_validate(task.attempt, clients, self.ports)
            case "rondo.combine", {"take_over": take_over}:
                run_combine(task.attempt, take_over, self.ports)
            case "rondo.partial", {"manifest": manifest, "width": width, "index": index}:
                run_partial(task.attempt, manifest, width, index, self.ports)
            case "rondo.products", {"manifest": manifest, "width": width, "index": index}:
                run_products(task.attempt, manifest, width, index, self.ports)
            case unknown:
                pytest.fail(f"no such task: {unknown}")

    def asked(self) -> list[Asked]:
        """Take the enqueued tasks out of the queue."""
        found = []
        with self.app.connection() as connection, suppress(Empty):
            queue = connection.SimpleQueue(self.app.conf.task_default_queue)
            while True:
                message = queue.get(block=False)
                (ids, arguments, _), name = message.decode(), message.headers["task"]
                message.ack()
                found.append(Asked(name, Attempt(*ids), arguments))
        return found

    @property
    def states(self) -> dict[str, str]:
        return {client: row.state for client, row in self.updates().items()}

    def published(self, kind: type[Kind]) -> list[Kind]:
        return [event for event in self.bus.published if isinstance(event, kind)]

    def count(self, name: str, **labels: str) -> float:
        labels = {"kind": "", "outcome": "ok"} | labels
        return self.metrics.registry.get_sample_value(name, labels) or 0.0


def memory_settings() -> AggregatorSettings:
    """Return settings whose broker is a queue in this process that no other test shares."""
    prefix = f"unit-{uuid.uuid4()}"
    return AggregatorSettings(redis_url=Secret("memory://"), rondo_prefix=prefix)


def seal_three(world: World) -> Manifest:
    """Go from nothing to a sealed round of three accepted updates."""
    world.open_round()
    for client in CLIENTS:
        world.submit(client)
    world.judge(*CLIENTS)
    world.seal()
    return world.write_manifest()
