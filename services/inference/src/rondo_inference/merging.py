"""Several requests as one run of an engine, and its outputs cut apart again."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rondo_core.tracing import Around, record
from rondo_inference.domain.tensors import Tensors

if TYPE_CHECKING:
    import asyncio

__all__ = ["Job", "Run", "computed", "recorded"]


@dataclass(slots=True)
class Job:
    """One request, or a part of a large one, that waits for an engine.

    Attributes:
        inputs: one tensor for each input, all with ``rows`` rows.
        rows: how many.
        queued_at: since when it waits, in seconds of ``time.perf_counter``.
        is_part: whether it is a part of a request.
        future: gets the outputs.
        trace: the request's span; None: nothing is recorded.
        is_first: whether no other part of its request came before it.
    """

    inputs: Tensors
    rows: int
    queued_at: float
    is_part: bool
    future: "asyncio.Future[Tensors]"
    trace: Around | None
    is_first: bool = True

    @property
    def kind(self) -> tuple[tuple[int, ...], ...]:
        """Jobs of one kind can share a batch."""
        return tuple(tensor.shape[1:] for tensor in self.inputs)


@dataclass(frozen=True, slots=True)
class Run:
    """What an engine computed.

    Attributes:
        outputs: of each job.
        began_at: in seconds of ``time.perf_counter``.
        steps: seconds of merging the inputs, of computing, and of cutting the outputs.
    """

    outputs: list[Tensors]
    began_at: float
    steps: tuple[float, float, float]


def computed(compute: Callable[[Tensors], Tensors], batch: Sequence[Job]) -> Run:
    """Return what an engine makes of jobs of one kind; may be called in any thread.

    Args:
        compute: see ``Engine.run``.
        batch: at least one job.
    """
    start = time.perf_counter()
    inputs = batch[0].inputs
    if len(batch) > 1:
        columns = zip(*(job.inputs for job in batch), strict=True)
        inputs = tuple(np.concatenate(column) for column in columns)
    merged = time.perf_counter()
    outputs = compute(inputs)
    end_of_run = time.perf_counter()
    parts = [outputs] if len(batch) == 1 else list(_cut(outputs, batch))
    end = time.perf_counter()
    return Run(parts, start, (merged - start, end_of_run - merged, end - end_of_run))


def _cut(outputs: Tensors, batch: Sequence[Job]) -> Iterator[Tensors]:
    at = 0
    for job in batch:
        yield tuple(tensor[at : at + job.rows] for tensor in outputs)
        at += job.rows


def recorded(batch: Sequence[Job], run: Run) -> None:
    """Record, of the jobs that are traced, how long each waited and was computed."""
    start = run.began_at + run.steps[0]
    for job in batch:
        if job.trace is not None:
            record("queue", job.trace, start=job.queued_at, end=run.began_at)
            record("compute", job.trace, start=start, end=start + run.steps[1])
