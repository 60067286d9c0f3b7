"""Bodies of the batch jobs' HTTP API, on the service's side of the door."""

from datetime import datetime
from typing import Annotated, Self

from msgspec import Meta, Struct

from rondo_core.events import Sha256
from rondo_inference.domain.batch_job import BatchJob, BatchState
from rondo_inference.domain.told import Told

__all__ = ["Files", "InputFile", "JobList", "JobView", "NewJob", "Result", "Upload"]

MOST_BYTES = 5 * 1024**3
"""What S3 takes in one PUT; what is longer is put in parts by its owner, and named by ``input``."""

FileName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*\Z", max_length=128)]


class InputFile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file that will be put at a link; with its digest the store refuses any other bytes."""

    name: FileName = "input"
    size: Annotated[int, Meta(ge=0, le=MOST_BYTES)]
    sha256: Sha256 | None = None


Files = Annotated[list[InputFile], Meta(max_length=1000)]


class NewJob(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to be predicted: files to be sent, or an input that is in the store already."""

    content_type: str
    accept: str = ""
    version: int | None = None
    label: str | None = None
    files: Files = []
    input: str | None = None


class Upload(Struct, frozen=True, kw_only=True):
    """PUT the file to ``url`` with exactly ``headers``."""

    name: str
    url: str
    headers: dict[str, str]


class Result(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An object that a job made: where it is, and a link that reads it for a while."""

    location: str
    url: str
    size: int | None = None


class JobView(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a job stands. ``progress`` is from 0 to 1."""

    job_id: str
    model: str
    version: int
    run: str
    state: BatchState
    progress: float
    content_type: str
    accept: str
    input: str
    created_at: datetime
    reason: str | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    chunks: int | None = None
    chunks_done: int | None = None
    records_done: int | None = None
    records: int | None = None
    failed_records: int | None = None
    warnings: tuple[Told, ...] = ()
    output: Result | None = None
    failures: Result | None = None
    uploads: list[Upload] = []

    @classmethod
    def of(cls, job: BatchJob, *, bucket: str, done: int, records: int) -> Self:
        """Return a view without links.

        Args:
            job: which.
            bucket: where its input is.
            done: chunks that are finished.
            records: that they have.
        """
        share = done / job.chunks if job.chunks else 0.0
        return cls(
            job_id=job.job_id,
            model=job.model,
            version=job.alias.model_version,
            run=f"{job.alias.run_id}/{job.alias.version}",
            state=job.state,
            # The join is left when all chunks are done.
            progress=1.0 if job.state == "COMPLETED" else round(0.99 * share, 4),
            content_type=job.content_type,
            accept=job.accept,
            input=f"s3://{bucket}/{job.input}",
            created_at=job.created_at,
            reason=job.reason,
            started_at=job.started_at,
            finished_at=job.finished_at,
            chunks=job.chunks,
            chunks_done=done if job.chunks else None,
            records_done=records if job.chunks else None,
            records=job.records,
            failed_records=job.failed_records,
            warnings=job.warnings,
        )


class JobList(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A model's jobs, the newest first; ``before=OLDER`` asks for those that follow."""

    jobs: list[JobView]
    older: str | None = None
