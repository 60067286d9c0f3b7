"""What the templates show of batch jobs."""

from collections.abc import Mapping
from dataclasses import dataclass

from rondo_inference.batch.wire import JobList, JobView
from rondo_inference.domain.batch_job import BatchState
from rondo_inference.domain.told import Told

__all__ = ["JobLine", "job_lines"]

_STATES: Mapping[BatchState, str] = {
    "WAITING": "waits for its file",
    "SUBMITTED": "waits for a worker",
    "RUNNING": "under way",
    "COMPLETED": "done",
    "FAILED": "failed",
    "CANCELLED": "cancelled",
}


@dataclass(frozen=True, slots=True)
class JobLine:
    """A job in the list.

    Attributes:
        job_id: its id.
        name: of its file, or that it is pictures.
        version: that predicts.
        made: when, for people; UTC.
        state: as the rows have it.
        says: the state in words.
        percent: 0..100; None: nothing of it is known yet.
        told: how far it is, what it found, or why it failed.
        refused: records that do not fit.
        warnings: columns that the model does not have.
    """

    job_id: str
    name: str
    version: int
    made: str
    state: BatchState
    says: str
    percent: float | None
    told: str
    refused: int
    warnings: tuple[Told, ...]

    @property
    def moves(self) -> bool:
        """Whether somebody works on it, or will soon."""
        return self.state in {"SUBMITTED", "RUNNING"}

    @property
    def starts(self) -> bool:
        """Whether it can go on."""
        return self.state == "CANCELLED"


def job_lines(jobs: JobList) -> list[JobLine]:
    """Return a list's lines, in its order."""
    return [_line(job) for job in jobs.jobs]


def _line(job: JobView) -> JobLine:
    return JobLine(
        job_id=job.job_id,
        name=job.input.rpartition("/")[2] or "pictures",
        version=job.version,
        made=f"{job.created_at:%Y-%m-%d %H:%M} UTC",
        state=job.state,
        says=_STATES[job.state],
        percent=round(100 * job.progress, 1) if job.state == "RUNNING" else None,
        told=_told(job),
        refused=job.failed_records or 0,
        warnings=job.warnings,
    )


def _told(job: JobView) -> str:
    if job.state == "COMPLETED":
        return _count(job.records or 0, "row")
    if job.state == "FAILED":
        return job.reason or ""
    if job.chunks is None:
        return ""
    parts = f"{job.chunks_done or 0:,} of {_count(job.chunks, 'part')}"
    return f"{_count(job.records_done or 0, 'row')}, {parts}"


def _count(number: int, word: str) -> str:
    return f"{number:,} {word}{'' if number == 1 else 's'}"
