"""The task ``join``: the finished chunks, in order, become the output. Never a chord."""

from collections.abc import Iterator

from rondo_core.errors import Invalid, NotFound
from rondo_core.model_spec import ModelSpec
from rondo_inference.batch.ending import end_job, failing, read_job
from rondo_inference.batch.planning import finished_chunks, read_plan
from rondo_inference.batch.ports import Models, Ports
from rondo_inference.batch.scoring import file_names
from rondo_inference.domain.batch_job import BatchJob, chunk_key, chunks_folder
from rondo_inference.domain.batch_output import ScoredChunk, failure_lines, output_head, unpack
from rondo_inference.domain.batch_plan import Plan

__all__ = ["join_job"]


class _Totals:
    """What was counted while the output was written: memory is a number per faulty chunk."""

    def __init__(self) -> None:
        self.records = 0
        self.faults = 0
        self.first_of: dict[int, int] = {}

    def note(self, index: int, chunk: ScoredChunk) -> None:
        if chunk.faults:
            self.first_of[index] = self.records
            self.faults += len(chunk.faults)
        self.records += chunk.records


def join_job(job_id: str, *, ports: Ports, models: Models) -> str:
    """Write output and failures of a job whose chunks are all finished, and complete it.

    Raises:
        Invalid: there is no record at all; the job's row says so.
        Unavailable: no answer; the sweep asks again.
    """
    job = read_job(job_id, ports.rows)
    if job is None or job.state != "RUNNING":
        return "not-running"
    plan, _ = read_plan(job_id, ports.objects)
    if len(finished_chunks(job_id, ports)) != len(plan.chunks):
        return "missing"
    totals, spec = _Totals(), models.spec(job.alias)
    try:
        written = ports.folders.write(job.output, _output(job, plan, spec, ports, totals))
        with failing(job, ports):
            if totals.records == 0:
                raise Invalid("the input has no record")
        if totals.faults:
            ports.folders.write(job.failures, _failures(job, plan, ports, totals))
    except NotFound:
        if _is_over(job_id, ports):  # another worker joined it, and tidied up
            return "not-running"
        raise
    counts = (totals.records, totals.faults)
    found = {"records": counts[0], "failed_records": counts[1], "output_bytes": written}
    if not end_job(job, "COMPLETED", ports=ports, counts=counts, found=found):
        return "not-running"
    ports.folders.remove(chunks_folder(job_id))
    return "completed"


def _is_over(job_id: str, ports: Ports) -> bool:
    current = read_job(job_id, ports.rows)
    return current is None or current.is_over


def _output(
    job: BatchJob, plan: Plan, spec: ModelSpec, ports: Ports, totals: _Totals
) -> Iterator[bytes]:
    yield output_head(spec, job.accept, named=bool(plan.files))
    for index in range(len(plan.chunks)):
        chunk, output = unpack(ports.objects.get(chunk_key(job.job_id, index)))
        totals.note(index, chunk)
        yield output


def _failures(job: BatchJob, plan: Plan, ports: Ports, totals: _Totals) -> Iterator[bytes]:
    for index, first in totals.first_of.items():
        chunk, _ = unpack(ports.objects.get(chunk_key(job.job_id, index)))
        yield failure_lines(chunk, first=first, names=file_names(plan, index))
