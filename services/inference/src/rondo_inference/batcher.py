"""Brings requests to an engine: at once while it is idle, gathered while it is busy.

Everything but the engine's run happens in the event loop, so nothing is locked. Requests that are
read in the same turn of the loop are merged, and so are those that wait while the engine computes;
nobody ever waits for company. The order is kept. A request with many rows is cut, so that all
engines work on it. A single small request on an idle engine is computed right here, without the
way through another thread.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import Executor

import numpy as np

from rondo_core.errors import RondoError
from rondo_core.tracing import around, record
from rondo_inference.domain.batching import BatchLimits, DeadlinePassed, QueueFull
from rondo_inference.domain.tensors import Tensors, rows_of
from rondo_inference.merging import Job, Run, computed, recorded
from rondo_inference.stats import Stats

__all__ = ["Batcher"]

_SMOOTHING = 0.2
"""How much the newest run counts in the estimate of a row's cost."""

_PARTS_AHEAD = 2
"""Parts of a large request that are with each engine or wait for it."""


class Batcher:
    """Of one version; used by one event loop.

    Args:
        run: computes; see ``Engine.run``.
        merges: whether rows of several requests may share a run.
        limits: see there.
        executor: threads that compute.
        stats: what is noted.
        row_seconds: what one row is expected to cost, measured by the warm-up.
    """

    def __init__(
        self,
        run: Callable[[Tensors], Tensors],
        *,
        merges: bool,
        limits: BatchLimits,
        executor: Executor,
        stats: Stats,
        row_seconds: float,
    ) -> None:
        self.stats = stats
        self._compute = run
        self._merges = merges
        self._limits = limits
        self._executor = executor
        self._row_seconds = row_seconds
        self._queue: deque[Job] = deque()
        self._queued_rows = 0
        self._running = 0
        self._scheduled = False

    async def run(self, inputs: Tensors, *, alone: bool = False) -> Tensors:
        """Return the outputs for inputs that the engine takes.

        Args:
            inputs: one tensor for each input, all with the same number of rows.
            alone: no other request was read in this turn of the loop, so there is nobody to merge
                this one with.

        Raises:
            QueueFull: too many rows wait already.
            DeadlinePassed: no engine was free in time.
            ExportInvalid: the engine refused.
        """
        start = time.perf_counter()
        try:
            if alone and self.idle and self._is_small(rows_of(inputs)):
                outputs = self._at_once(inputs)
            else:
                outputs = await self._outputs(inputs)
        except RondoError as exc:
            self.stats.failed(time.perf_counter() - start, type(exc).__name__)
            raise
        self.stats.answered(time.perf_counter() - start)
        return outputs

    def _is_small(self, rows: int) -> bool:
        return rows * self._row_seconds <= self._limits.inline_seconds

    def _at_once(self, inputs: Tensors) -> Tensors:
        start = time.perf_counter()
        outputs = self._compute(inputs)
        end = time.perf_counter()
        self.stats.waited(0.0)
        self._note(rows_of(inputs), (0.0, end - start, 0.0))
        if (trace := around()) is not None:
            record("compute", trace, start=start, end=end)
        return outputs

    async def _outputs(self, inputs: Tensors) -> Tensors:
        parts = self._parts(inputs)
        if len(parts) == 1:
            return await self._submit(inputs)
        done = [outputs async for outputs in self._in_turn(parts)]
        return tuple(np.concatenate(column) for column in zip(*done, strict=True))

    async def _in_turn(self, parts: Sequence[Tensors]) -> AsyncIterator[Tensors]:
        """Compute parts in order, only a few of them waiting: others get in between."""
        waiting: deque[asyncio.Future[Tensors]] = deque()
        try:
            for part in parts:
                if len(waiting) == _PARTS_AHEAD * self._limits.engines:
                    yield await waiting.popleft()
                waiting.append(self._submit(part, is_part=True))
            while waiting:
                yield await waiting.popleft()
        finally:
            for future in waiting:
                future.cancel()

    @property
    def idle(self) -> bool:
        """Whether nothing waits and nothing is computed."""
        return not self._queue and not self._running

    def _parts(self, inputs: Tensors) -> list[Tensors]:
        rows = rows_of(inputs)
        if not self._merges or rows == 1:
            return [inputs]
        size = self._limits.rows
        if rows * self._row_seconds > self._limits.inline_seconds:
            size = min(size, -(-rows // self._limits.engines))
        if rows <= size:
            return [inputs]
        return [
            tuple(tensor[start : start + size] for tensor in inputs)
            for start in range(0, rows, size)
        ]

    def _submit(self, inputs: Tensors, *, is_part: bool = False) -> "asyncio.Future[Tensors]":
        loop, rows = asyncio.get_running_loop(), rows_of(inputs)
        if self._queue and self._queued_rows + rows > self._limits.queue_rows:
            raise QueueFull(f"{self._queued_rows} rows wait already; try again")
        job = Job(inputs, rows, time.perf_counter(), is_part, loop.create_future(), around())
        self._queue.append(job)
        self._queued_rows += rows
        if not self._scheduled and self._running < self._limits.engines:
            self._scheduled = True
            loop.call_soon(self._flush)
        return job.future

    def _flush(self) -> None:
        self._scheduled = False
        while self._running < self._limits.engines and (batch := self._take()):
            self._start(batch)

    def _take(self) -> list[Job]:
        """Take the next jobs that fit into one batch; drop those that nobody waits for."""
        batch: list[Job] = []
        rows, now = 0, time.perf_counter()
        while self._queue:
            job = self._queue[0]
            waited = now - job.queued_at
            if waited > self._limits.queue_seconds and not job.future.done():
                job.future.set_exception(
                    DeadlinePassed(f"no engine was free within {self._limits.queue_seconds:g} s")
                )
            if job.future.done():
                self._pop()
                continue
            if batch and not self._joins(job, batch, rows):
                break
            self._pop()
            self.stats.waited(waited)
            batch.append(job)
            rows += job.rows
        return batch

    def _joins(self, job: Job, batch: Sequence[Job], rows: int) -> bool:
        """Parts of one request stay apart, or only one engine would work on it."""
        fits = self._merges and rows + job.rows <= self._limits.rows
        return fits and not (job.is_part and batch[0].is_part) and job.kind == batch[0].kind

    def _pop(self) -> None:
        self._queued_rows -= self._queue.popleft().rows

    def _start(self, batch: list[Job]) -> None:
        if len(batch) == 1 and self._is_small(batch[0].rows) and self.idle:
            try:
                run = self._run(batch)
            except Exception as exc:  # noqa: BLE001  (the waiting request raises it)
                batch[0].future.set_exception(exc)
            else:
                self._done(batch, run)
            return
        self._running += 1
        running = asyncio.get_running_loop().run_in_executor(self._executor, self._run, batch)
        running.add_done_callback(lambda run: self._finish(batch, run))

    def _finish(self, batch: list[Job], run: "asyncio.Future[Run]") -> None:
        self._running -= 1
        if run.cancelled():
            for job in batch:
                job.future.cancel()
        elif (exc := run.exception()) is not None:
            for job in _waiting(batch):
                job.future.set_exception(exc)
        else:
            self._done(batch, run.result())
        self._flush()

    def _done(self, batch: list[Job], run: Run) -> None:
        rows = batch[0].rows if len(batch) == 1 else sum(job.rows for job in batch)
        self._note(rows, run.steps)
        recorded(batch, run)
        for job, outputs in zip(batch, run.outputs, strict=True):
            if not job.future.done():
                job.future.set_result(outputs)

    def _note(self, rows: int, steps: tuple[float, float, float]) -> None:
        self._row_seconds += _SMOOTHING * (steps[1] / max(rows, 1) - self._row_seconds)
        self.stats.ran(rows, steps, int(time.time() * 1000))

    def _run(self, batch: Sequence[Job]) -> Run:
        """Compute a batch; the only part that may run in another thread."""
        return computed(self._compute, batch)


def _waiting(batch: Sequence[Job]) -> Iterator[Job]:
    return (job for job in batch if not job.future.done())
