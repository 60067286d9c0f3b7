"""The task ``score``: one chunk of records becomes one create-once object."""

from dataclasses import dataclass

import numpy as np

from rondo_core.errors import Invalid
from rondo_core.input_bounds import warned
from rondo_core.layout import Float32Array
from rondo_core.model_spec import ModelSpec
from rondo_core.model_store import AlreadyExists
from rondo_core.rows import from_item
from rondo_core.run_store import CommitConflict
from rondo_inference.batch.ending import end_job, failing, read_job
from rondo_inference.batch.planning import finished_chunks, read_plan
from rondo_inference.batch.ports import ChunkLimits, Hints, Models, Ports
from rondo_inference.domain.batch_changes import begin_changes, scored_change
from rondo_inference.domain.batch_job import BatchJob, ChunkRow, chunk_key, chunk_row_key
from rondo_inference.domain.batch_media import LINES, NPY, PICTURES
from rondo_inference.domain.batch_output import ScoredChunk, answered, output_lines, pack
from rondo_inference.domain.batch_plan import Plan
from rondo_inference.domain.batch_records import (
    Records,
    read_csv,
    read_lines,
    read_pictures,
    read_rows,
)
from rondo_inference.engines.engine import Engine

__all__ = ["MOST_TRIES", "ChunkOutcome", "file_names", "score_chunk"]

MOST_TRIES = 5
"""A chunk that was begun more often and never finished ends its workers: the job fails."""


@dataclass(frozen=True, slots=True)
class _Scored:
    """A chunk's object, how many records it has, and see ``ChunkOutcome`` for the rest."""

    content: bytes
    records: int
    beyond: int


@dataclass(frozen=True, slots=True)
class ChunkOutcome:
    """What came of a task.

    Attributes:
        word: for the log and the metrics.
        model: of the job, where the chunk was scored.
        beyond: numbers beyond bounds of their columns that were answered all the same.
    """

    word: str
    model: str = ""
    beyond: int = 0


def score_chunk(
    job_id: str, index: int, *, ports: Ports, models: Models, hints: Hints, limits: ChunkLimits
) -> ChunkOutcome:
    """Score a chunk unless it is finished, and ask for the next one of its lane, or for the join.

    Raises:
        Invalid, NotFound: the job can never be done; its row says why.
        Unavailable: no answer; the sweep asks again.
    """
    job = read_job(job_id, ports.rows)
    if job is None or job.state != "RUNNING":
        return ChunkOutcome("not-running")
    if ports.objects.head(chunk_key(job_id, index)) is not None:
        return ChunkOutcome("finished")
    if not _begun(job, index, ports):
        return ChunkOutcome("not-running")
    plan, _ = read_plan(job_id, ports.objects)
    with failing(job, ports, where=_place(plan, index)):
        made = _scored(job, plan, index, ports=ports, models=models, rows=limits.engine_rows)
    try:
        ports.rows.commit(scored_change(job_id, index, made.records))
        ports.objects.put(chunk_key(job_id, index), made.content)
    except CommitConflict:
        return ChunkOutcome("not-running")  # the job was deleted meanwhile
    except AlreadyExists:
        return ChunkOutcome("beaten")  # another worker was first: its bytes count, and it goes on
    _go_on(job, index + limits.lanes, len(plan.chunks), ports, hints)
    return ChunkOutcome("scored", job.model, made.beyond)


def file_names(plan: Plan, index: int) -> tuple[str, ...]:
    """Return the names, without their folder, of a chunk's files; empty where there are none."""
    return tuple(key.rpartition("/")[2] for key in plan.files[slice(*plan.chunks[index])])


def _begun(job: BatchJob, index: int, ports: Ports) -> bool:
    try:
        ports.rows.commit(*begin_changes(job, index))
    except CommitConflict:
        return False
    item = ports.rows.get(chunk_row_key(job.job_id, index))
    if item is not None and from_item(item, ChunkRow).tries > MOST_TRIES:
        reason = f"chunk {index} was begun {MOST_TRIES} times and never finished"
        end_job(job, "FAILED", ports=ports, reason=reason)
        return False
    return True


def _go_on(job: BatchJob, following: int, chunks: int, ports: Ports, hints: Hints) -> None:
    """At the end of a lane look whether all lanes are; else the lane goes on."""
    ends = following >= chunks
    if not ends and ports.objects.head(chunk_key(job.job_id, following)) is None:
        hints.score(job.job_id, following)
    elif len(finished_chunks(job.job_id, ports)) == chunks:
        hints.join(job.job_id)


def _place(plan: Plan, index: int) -> str:
    start, stop = plan.chunks[index]
    return f"files {start} to {stop}: " if plan.files else f"bytes {start} to {stop}: "


def _scored(
    job: BatchJob, plan: Plan, index: int, *, ports: Ports, models: Models, rows: int
) -> _Scored:
    spec = models.spec(job.alias)
    records = _read(job, plan, index, ports=ports, models=models)
    outputs = _predicted(models.engine(job.alias), spec, records.inputs, rows)
    beyond = sum(one.rows for one in warned(spec.input, records.inputs))
    records, outputs = answered(records, outputs)
    lines = output_lines(spec, job.accept, records, outputs, file_names(plan, index))
    content = pack(ScoredChunk(records=records.total, faults=records.faults), lines)
    return _Scored(content, records.total, beyond)


def _read(job: BatchJob, plan: Plan, index: int, *, ports: Ports, models: Models) -> Records:
    spec = models.spec(job.alias)
    start, stop = plan.chunks[index]
    if job.content_type in PICTURES:
        files = [ports.objects.get(key) for key in plan.files[start:stop]]
        return read_pictures(files, spec, models.pictures)
    # Not a read of that version: one emulator answers a range of a version with all of it.
    info = ports.objects.head(plan.key)
    if info is None or info.version != plan.version:
        raise Invalid(f"the input {plan.key} was replaced or removed after the job began")
    body = ports.objects.get(plan.key, start=start, stop=stop)
    if job.content_type == NPY:
        return read_rows(body, plan.dtype, plan.row, spec)
    if job.content_type == LINES:
        return read_lines(body, spec)
    return read_csv(body, plan.header, spec)


def _predicted(engine: Engine, spec: ModelSpec, inputs: Float32Array, rows: int) -> Float32Array:
    parts = [np.empty((0, len(spec.outputs)), np.float32)]
    parts += [engine.run((inputs[at : at + rows],))[0] for at in range(0, len(inputs), rows)]
    return np.concatenate(parts)
