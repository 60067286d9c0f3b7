"""The batch side on fakes: hints are a list, and a test decides who does what, and when."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count

from rondo_core.events import BatchEnded
from rondo_core.layout import Float32Array
from rondo_core.model_spec import ModelSpec
from rondo_core.telemetry import Metrics
from rondo_core.testing import (
    ManualClock,
    MemoryBus,
    MemoryModelStore,
    MemoryObjectFolders,
    MemoryRunStore,
    MemoryUploadLinks,
)
from rondo_inference.batch.ending import read_job
from rondo_inference.batch.models import StoredModels
from rondo_inference.batch.orders import Orders
from rondo_inference.batch.ports import ChunkLimits, Ports
from rondo_inference.batch.sweep import BatchSweeper
from rondo_inference.batch.tasks import BatchWorker, run_task
from rondo_inference.batch.wire import InputFile, JobView, NewJob
from rondo_inference.contracts.pictures import decode_pictures
from rondo_inference.domain.batch_job import BatchJob
from tests.unit.rondo_inference.exported import Export, prices_export
from tests.unit.rondo_inference.fakes import onnx_alone

BUCKET = "models"
LIMITS = ChunkLimits(chunk_bytes=15, record_bytes=1000, lanes=2, engine_rows=2)


class ListHints:
    """``Hints`` that are a list."""

    def __init__(self) -> None:
        self.waiting: deque[tuple[object, ...]] = deque()

    def plan(self, job_id: str) -> None:
        self.waiting.append(("plan", job_id))

    def score(self, job_id: str, index: int) -> None:
        self.waiting.append(("score", job_id, index))

    def join(self, job_id: str) -> None:
        self.waiting.append(("join", job_id))


@dataclass
class BatchWorld:
    """A store with the model ``prices`` and one worker."""

    limits: ChunkLimits = LIMITS
    clock: ManualClock = field(default_factory=ManualClock)
    rows: MemoryRunStore = field(default_factory=MemoryRunStore)
    store: MemoryModelStore = field(default_factory=MemoryModelStore)
    hints: ListHints = field(default_factory=ListHints)
    metrics: Metrics = field(default_factory=Metrics)

    def __post_init__(self) -> None:
        self.bus = MemoryBus(self.clock)
        self.links = MemoryUploadLinks(self.store, self.clock)
        self.folders = MemoryObjectFolders(self.store)
        self.ports = Ports(
            rows=self.rows,
            objects=self.store,
            folders=self.folders,
            publish=self.bus.publish,
            clock=self.clock,
            bucket=BUCKET,
            region="eu-central-1",
        )
        numbers = count(1)
        self.orders = Orders(
            ports=self.ports,
            links=self.links,
            new_id=lambda: f"job{next(numbers)}",
            link_seconds=60,
        )
        self.worker = self.new_worker()
        self.export = prices_export(1)
        self.export.store(self.store)
        self.sweeper = BatchSweeper(
            ports=self.ports,
            hints=self.hints,
            lanes=self.limits.lanes,
            lease_seconds=5.0,
            metrics=self.metrics,
        )

    def new_worker(self) -> BatchWorker:
        def pictures(spec: ModelSpec, files: Sequence[bytes]) -> Float32Array:
            return decode_pictures(spec, files, fit="refuse")

        return BatchWorker(
            ports=self.ports,
            models=StoredModels(self.store, engines=onnx_alone(), pictures=pictures),
            hints=self.hints,
            limits=self.limits,
            metrics=self.metrics,
            lease_seconds=5.0,
        )

    def make(
        self,
        data: bytes,
        *,
        content_type: str = "text/csv",
        accept: str = "",
        export: Export | None = None,
    ) -> str:
        """Make a job, put its input at its link, and start it."""
        wanted = NewJob(content_type=content_type, accept=accept, files=[InputFile(size=len(data))])
        view = self.orders.make((export or self.export).alias, wanted)
        (link,) = view.uploads
        assert self.links.put(link.url, link.headers, data) == 200
        self.orders.start(view.model, view.job_id)
        self.hints.plan(view.job_id)  # as the intake does
        return view.job_id

    def step(self) -> str:
        """Do the first thing that waits."""
        name, *ids = self.hints.waiting.popleft()
        outcome: list[str] = []

        def body() -> str:
            outcome.append(getattr(self.worker, str(name))(*ids))
            return outcome[0]

        run_task(str(name), str(ids[0]), body, self.metrics)
        return f"{name} {outcome[0] if outcome else 'raised'}"

    def work(self) -> list[str]:
        """Do all that waits, and what that asks for."""
        done = []
        while self.hints.waiting:
            done.append(self.step())
        return done

    def sweep(self, seconds: float = 0.0) -> None:
        self.clock.advance(seconds)
        self.sweeper()

    def job(self, job_id: str) -> BatchJob:
        found = read_job(job_id, self.rows)
        assert found is not None
        return found

    def view(self, job_id: str) -> JobView:
        return self.orders.show(self.job(job_id).model, job_id)

    def output(self, job_id: str) -> bytes:
        view = self.view(job_id)
        assert view.output is not None, view
        status, content = self.links.get(view.output.url)
        assert status == 200
        return content

    def failures(self, job_id: str) -> bytes:
        view = self.view(job_id)
        assert view.failures is not None, view
        return self.links.get(view.failures.url)[1]

    def ended(self) -> list[BatchEnded]:
        return [event for event in self.bus.published if isinstance(event, BatchEnded)]
