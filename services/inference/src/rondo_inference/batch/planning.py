"""The task ``plan``: find the chunks of an input, once, and begin with them."""

import hashlib
from collections.abc import Collection, Iterator
from functools import partial
from itertools import islice

import msgspec

from rondo_core.errors import Invalid, NotFound
from rondo_core.model_spec import ModelSpec
from rondo_core.model_store import AlreadyExists, ModelStore, ObjectInfo
from rondo_core.rows import from_item
from rondo_core.run_store import CommitConflict
from rondo_inference.batch.ending import end_job, failing, input_seen_by, read_job
from rondo_inference.batch.ports import ChunkLimits, Hints, Models, Ports
from rondo_inference.domain.batch_changes import run_change
from rondo_inference.domain.batch_job import BatchJob, ChunkRow, chunks_folder, job_pk, plan_key
from rondo_inference.domain.batch_media import CSV, LINES, NPY, PICTURES
from rondo_inference.domain.batch_plan import (
    Plan,
    cut_files,
    cut_lines,
    cut_rows,
    lane_starts,
    read_npy_head,
)
from rondo_inference.domain.batch_records import header_of, other_columns
from rondo_inference.domain.spreadsheets import refuse_spreadsheet
from rondo_inference.domain.told import few_told, ignored

__all__ = ["ask_for_chunks", "finished_chunks", "finished_records", "plan_job", "read_plan"]

_BLOCK_BYTES = 8 * 1024 * 1024
_HEAD_BYTES = 4096 + 12
MOST_FILES = 100_000


def plan_job(
    job_id: str, *, ports: Ports, models: Models, hints: Hints, limits: ChunkLimits
) -> str:
    """Plan a submitted job and ask for its first chunks; return what came of it.

    Raises:
        Invalid, NotFound: the job can never be done; its row says why.
        Unavailable: no answer; the sweep asks again.
    """
    job = read_job(job_id, ports.rows)
    if job is None or job.state != "SUBMITTED":
        return "not-submitted"
    if (reason := job.overdue(ports.clock.now())) is not None:
        end_job(job, "FAILED", ports=ports, reason=reason)
        return "overdue"
    with failing(job, ports):
        if ports.objects.head(plan_key(job_id)) is None:
            _store(job, _made(job, ports, models, limits), ports)
    plan, digest = read_plan(job_id, ports.objects)
    try:
        ports.rows.commit(run_change(job, plan, digest))
    except CommitConflict:
        return "not-submitted"
    ask_for_chunks(job_id, len(plan.chunks), ports, hints, limits.lanes)
    return "planned"


def ask_for_chunks(job_id: str, chunks: int, ports: Ports, hints: Hints, lanes: int) -> None:
    """Ask for the first missing chunk of each lane, which goes on from there; or for the join."""
    starts = lane_starts(finished_chunks(job_id, ports), chunks, lanes)
    for index in starts:
        hints.score(job_id, index)
    if not starts:
        hints.join(job_id)


def finished_chunks(job_id: str, ports: Ports) -> set[int]:
    """Return the indices of the chunks whose objects exist."""
    folder = chunks_folder(job_id)
    return {int(one.key.removeprefix(folder)) for one in ports.folders.list(folder)}


def finished_records(job_id: str, finished: Collection[int], ports: Ports) -> int:
    """Return how many records finished chunks have, in all: one query of their rows."""
    return sum(
        from_item(item, ChunkRow).records
        for item in ports.rows.query(job_pk(job_id), "CHUNK#")
        if int(str(item["SK"]).removeprefix("CHUNK#")) in finished
    )


def read_plan(job_id: str, objects: ModelStore) -> tuple[Plan, str]:
    """Return a job's plan and its digest."""
    data = objects.get(plan_key(job_id))
    return msgspec.json.decode(data, type=Plan), hashlib.sha256(data).hexdigest()


def _store(job: BatchJob, plan: Plan, ports: Ports) -> None:
    try:
        ports.objects.put(plan_key(job.job_id), msgspec.json.encode(plan))
    except AlreadyExists:
        return  # another worker was first: its plan counts


def _made(job: BatchJob, ports: Ports, models: Models, limits: ChunkLimits) -> Plan:
    if not input_seen_by(job.owner, job.input, ports.rows):
        raise _missing(job)
    if job.content_type in PICTURES:
        return _of_files(job, ports, limits)
    info = ports.objects.head(job.input)
    if info is None:
        raise _missing(job)
    if job.expected not in {None, info.size}:
        raise Invalid(f"the input has {info.size} bytes, {job.expected} were announced")
    if info.size == 0:
        raise Invalid("the input is empty")
    if job.content_type == NPY:
        return _of_array(job, info, ports, limits)
    spec = models.spec(job.alias)
    start, header = _first_record(job, ports.objects, limits.record_bytes, spec)
    chunks = tuple(
        cut_lines(
            _blocks(job, info, ports.objects, start),
            start=start,
            chunk_bytes=limits.chunk_bytes,
            record_bytes=limits.record_bytes,
            quotes=job.content_type == CSV,
        )
    )
    if not chunks:
        raise Invalid("the CSV has a header but no row")
    return Plan(
        key=job.input,
        version=info.version,
        header=header,
        chunks=chunks,
        warnings=few_told(ignored(other_columns(header, spec))),
    )


def _missing(job: BatchJob) -> NotFound:
    """Return the same error for an input that is not there and for one of somebody else's job."""
    return NotFound(f"the input {job.input} does not exist")


def _first_record(
    job: BatchJob, objects: ModelStore, record_bytes: int, spec: ModelSpec
) -> tuple[int, str]:
    """Return where the records begin, and the header before them, if there is one."""
    head = objects.get(job.input, stop=record_bytes + 1)
    if job.content_type == CSV:
        refuse_spreadsheet(head)
    lines = partial(cut_lines, start=0, record_bytes=record_bytes)
    found = lines([head], chunk_bytes=1, quotes=job.content_type == CSV)
    start, stop = next((line for line in found if head[slice(*line)].strip()), (0, 0))
    if stop == 0:
        raise Invalid("the input is empty: it begins with blank lines only")
    if job.content_type == LINES:
        return start, ""
    header = header_of(head[start:stop], spec)
    return (stop, header) if header else (start, "")


def _blocks(job: BatchJob, info: ObjectInfo, objects: ModelStore, start: int) -> Iterator[bytes]:
    for at in range(start, info.size, _BLOCK_BYTES):
        stop = min(at + _BLOCK_BYTES, info.size)
        yield objects.get(job.input, start=at, stop=stop)


def _of_array(job: BatchJob, info: ObjectInfo, ports: Ports, limits: ChunkLimits) -> Plan:
    head = read_npy_head(ports.objects.get(job.input, stop=_HEAD_BYTES))
    return Plan(
        key=job.input,
        version=info.version,
        dtype=head.dtype.str,
        row=head.shape[1:],
        chunks=cut_rows(head, info.size, chunk_bytes=limits.chunk_bytes),
    )


def _of_files(job: BatchJob, ports: Ports, limits: ChunkLimits) -> Plan:
    files = list(islice(ports.folders.list(job.input), MOST_FILES + 1))
    if not files:
        raise _missing(job)
    if len(files) > MOST_FILES:
        raise Invalid(f"the input {job.input} has more than {MOST_FILES} files")
    chunks = cut_files(files, chunk_bytes=limits.chunk_bytes)
    return Plan(files=tuple(file.key for file in files), chunks=chunks)
