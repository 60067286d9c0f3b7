"""Brings requests to an engine: at once while it is idle, gathered while it is busy.

Requests that are read in the same turn of the loop are merged, and so are those that wait while the
engine computes; nobody ever waits for company. Where rows cost little, an engine takes one half of
what waits, and the loop writes answers and reads requests while it computes: it takes the other
half itself when it is done. The order is kept. A request with many rows is cut, so that all engines
work on it. A single small request on an idle engine is computed right here, and so are several that
cost less than the way through another thread.

Everything but the engine's run, and the taking of what it runs, happens in the event loop.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence

import numpy as np

from rondo_core.errors import RondoError
from rondo_core.tracing import around, record
from rondo_inference.domain.batching import BatchLimits, DeadlinePassed
from rondo_inference.domain.tensors import Tensors, rows_of
from rondo_inference.engine_threads import EngineThreads
from rondo_inference.merging import Job, Run, computed, recorded
from rondo_inference.stats import Stats
from rondo_inference.waiting import HOP_SECONDS, Waiting

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
        threads: compute.
        stats: what is noted.
        row_seconds: what one row is expected to cost, measured by the warm-up.
    """

    def __init__(
        self,
        run: Callable[[Tensors], Tensors],
        *,
        merges: bool,
        limits: BatchLimits,
        threads: EngineThreads,
        stats: Stats,
        row_seconds: float,
    ) -> None:
        self.stats = stats
        self._compute = run
        self._merges = merges
        self._limits = limits
        self._threads = threads
        self._row_seconds = row_seconds
        self._waiting = Waiting(limits, merges=merges)
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
            if alone and self._waiting.idle and self._is_small(rows := rows_of(inputs)):
                return self._at_once(inputs, rows, start)
            outputs = await self._outputs(inputs)
        except RondoError as exc:
            self.stats.failed(time.perf_counter() - start, type(exc).__name__)
            raise
        self.stats.answered(time.perf_counter() - start)
        return outputs

    def _is_small(self, rows: int) -> bool:
        return rows * self._row_seconds <= self._limits.inline_seconds

    def _at_once(self, inputs: Tensors, rows: int, start: float) -> Tensors:
        outputs = self._compute(inputs)
        end = time.perf_counter()
        self._learn(rows, end - start)
        self.stats.ran_alone(rows, end - start, int(time.time() * 1000))
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
            for number, part in enumerate(parts):
                if len(waiting) == _PARTS_AHEAD * self._limits.engines:
                    yield await waiting.popleft()
                waiting.append(self._submit(part, is_part=True, is_first=number == 0))
            while waiting:
                yield await waiting.popleft()
        finally:
            for future in waiting:
                future.cancel()

    @property
    def idle(self) -> bool:
        """Whether nothing waits and nothing is computed."""
        return self._waiting.idle

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

    def _submit(
        self, inputs: Tensors, *, is_part: bool = False, is_first: bool = True
    ) -> "asyncio.Future[Tensors]":
        loop = asyncio.get_running_loop()
        queued_at, future = time.perf_counter(), loop.create_future()
        job = Job(inputs, rows_of(inputs), queued_at, is_part, future, around(), is_first)
        self._waiting.put(job)
        if not self._scheduled and self._waiting.wants_engine(self._row_seconds):
            self._scheduled = True
            loop.call_soon(self._flush, loop)
        return job.future

    def _flush(self, loop: asyncio.AbstractEventLoop) -> None:
        self._scheduled = False
        while batch := self._take(loop):
            if self._waiting.lone and self._is_quick(batch):
                self._finish(batch, *self._run(batch))
            else:
                self._threads.begin(self._work, loop, batch)

    def _is_quick(self, batch: Sequence[Job]) -> bool:
        if len(batch) == 1:
            return self._is_small(batch[0].rows)
        return sum(job.rows for job in batch) * self._row_seconds <= HOP_SECONDS

    def _work(self, loop: asyncio.AbstractEventLoop, batch: list[Job]) -> None:
        """Compute in a thread what waits, batch after batch, unless other versions want it."""
        while batch:
            run = self._run(batch)
            loop.call_soon_threadsafe(self._finish, batch, *run)
            batch = self._take(loop)
            if batch and self._threads.wanted:
                self._threads.begin(self._work, loop, batch)
                return

    def _take(self, loop: asyncio.AbstractEventLoop) -> list[Job]:
        batch, late = self._waiting.take(self._row_seconds)
        if late:
            loop.call_soon_threadsafe(self._refuse, late)
        return batch

    def _refuse(self, late: Sequence[Job]) -> None:
        for job in _unanswered(late):
            job.future.set_exception(
                DeadlinePassed(f"no engine was free within {self._limits.queue_seconds:g} s")
            )

    def _run(self, batch: Sequence[Job]) -> tuple[float, Run | Exception]:
        """Compute a batch in any thread; return when that began, and what came of it."""
        start = time.perf_counter()
        try:
            return start, computed(self._compute, batch)
        except Exception as exc:  # noqa: BLE001  (the waiting requests raise it)
            return start, exc
        finally:
            self._waiting.done()

    def _finish(self, batch: list[Job], began_at: float, run: Run | Exception) -> None:
        for job in batch:
            self.stats.began(began_at - job.queued_at, first=job.is_first)
        if isinstance(run, Exception):
            for job in _unanswered(batch):
                job.future.set_exception(run)
        else:
            self._done(batch, run)

    def _done(self, batch: list[Job], run: Run) -> None:
        rows = batch[0].rows if len(batch) == 1 else sum(job.rows for job in batch)
        self._learn(rows, run.steps[1])
        first = sum(job.is_first for job in batch)
        self.stats.ran(rows, run.steps, int(time.time() * 1000), parts=len(batch), first=first)
        recorded(batch, run)
        for job, outputs in zip(batch, run.outputs, strict=True):
            if not job.future.done():
                job.future.set_result(outputs)

    def _learn(self, rows: int, seconds: float) -> None:
        self._row_seconds += _SMOOTHING * (seconds / (rows or 1) - self._row_seconds)


def _unanswered(batch: Sequence[Job]) -> Iterator[Job]:
    return (job for job in batch if not job.future.done())
