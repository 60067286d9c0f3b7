"""A batch job's rows and objects, and every change of them: pure functions, conditional writes.

``BATCH#job / META`` is the truth: WAITING (for its input) → SUBMITTED → RUNNING (planned) →
COMPLETED or FAILED; CANCELLED from each of the first three, and SUBMITTED again from there.
``BATCH#job / CHUNK#n`` counts how often a chunk was begun. That a chunk is finished is an object.
"""

from datetime import datetime, timedelta
from typing import Literal

from rondo_core.events import AsyncRequest, AsyncResponse, AsyncResult, BatchEnded, BatchRequested
from rondo_core.model_rows import AliasRow
from rondo_core.rows import AnyRow, to_item
from rondo_core.run_store import Absent, Change, Delete, Equals, Item, Key, OneOf, Put, Update

__all__ = [
    "INPUTS",
    "SERVICE",
    "BatchJob",
    "BatchPointer",
    "BatchState",
    "ChunkRow",
    "begin_changes",
    "chunk_key",
    "chunk_row_key",
    "chunks_folder",
    "created_changes",
    "deleted_changes",
    "end_changes",
    "ended_event",
    "input_folder",
    "job_key",
    "job_pk",
    "jobs_pk",
    "move_change",
    "plan_key",
    "requested_event",
    "result_folder",
    "run_change",
    "start_change",
]

SERVICE = "batch"
"""Names the SQS queue, the broker's list and the outbox."""

INPUTS = "batch/inputs/"
"""Where inputs are: no job reads anything else of the bucket."""

BatchState = Literal["WAITING", "SUBMITTED", "RUNNING", "COMPLETED", "FAILED", "CANCELLED"]
_STARTABLE = ("WAITING", "CANCELLED")
_MOVING = ("SUBMITTED", "RUNNING")


class BatchJob(AnyRow, frozen=True, kw_only=True):
    """``BATCH#job / META``."""

    job_id: str
    model: str
    alias: AliasRow
    """The version that predicts, as it was when the job was made; the alias may move on."""
    state: BatchState
    reason: str | None = None
    content_type: str
    accept: str
    input: str
    """Key of the input, or a folder of pictures (it ends with a slash)."""
    expected: int | None = None
    """Bytes of the input, where its sender announced them."""
    output: str
    failures: str
    inference_id: str
    starts: int = 0
    """How often it was started; names its events."""
    lease: int = 0
    """A counter that workers move. Unchanged for the lease time: nobody works on it."""
    plan: str | None = None
    chunks: int | None = None
    records: int | None = None
    failed_records: int | None = None
    output_bytes: int | None = None
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    ttl_seconds: int | None = None
    """It fails if no worker has planned it so long after its start."""
    timeout_seconds: int | None = None
    """It fails if it is not over so long after its start."""
    active: Literal["batch"] | None = None

    @property
    def is_over(self) -> bool:
        """Whether nothing works on it any more."""
        return self.state in {"COMPLETED", "FAILED", "CANCELLED"}

    def overdue(self, now: datetime) -> str | None:
        """Say why it has to fail now, or None."""
        if self.started_at is None or self.state not in _MOVING:
            return None
        age = now - self.started_at
        if (
            self.state == "SUBMITTED"
            and self.ttl_seconds is not None
            and age > timedelta(seconds=self.ttl_seconds)
        ):
            return f"nobody began with it within {self.ttl_seconds} s"
        if self.timeout_seconds is not None and age > timedelta(seconds=self.timeout_seconds):
            return f"it was not over within {self.timeout_seconds} s"
        return None


class BatchPointer(AnyRow, frozen=True, kw_only=True):
    """``BATCHES#model / time#job``: a job exists."""

    job_id: str


class ChunkRow(AnyRow, frozen=True, kw_only=True):
    """``BATCH#job / CHUNK#n``."""

    tries: int = 0


def job_pk(job_id: str) -> str:
    """Partition of a job."""
    return f"BATCH#{job_id}"


def job_key(job_id: str) -> Key:
    """Key of a job's META row."""
    return Key(job_pk(job_id), "META")


def jobs_pk(model: str) -> str:
    """Partition that lists a model's jobs, ascending by the time they were made."""
    return f"BATCHES#{model}"


def chunk_row_key(job_id: str, index: int) -> Key:
    """Key of a chunk's row."""
    return Key(job_pk(job_id), f"CHUNK#{index:06d}")


def _pointer_key(job: BatchJob) -> Key:
    return Key(jobs_pk(job.model), f"{job.created_at:%Y-%m-%dT%H:%M:%S.%fZ}#{job.job_id}")


def input_folder(job_id: str) -> str:
    """Where what is sent for a job is put."""
    return f"{INPUTS}{job_id}/"


def result_folder(job_id: str) -> str:
    """Where everything that a job makes is."""
    return f"batch/jobs/{job_id}/"


def plan_key(job_id: str) -> str:
    """Name a job's plan."""
    return f"{result_folder(job_id)}plan.json"


def chunks_folder(job_id: str) -> str:
    """Where the finished chunks of a job are until they are joined."""
    return f"{result_folder(job_id)}chunks/"


def chunk_key(job_id: str, index: int) -> str:
    """Name a finished chunk."""
    return f"{chunks_folder(job_id)}{index:06d}"


def created_changes(job: BatchJob) -> list[Change]:
    """Make a job."""
    pointer = Put(_pointer_key(job), to_item(BatchPointer(job_id=job.job_id)))
    return [Put(job_key(job.job_id), to_item(job), (Absent(),)), pointer]


def start_change(job: BatchJob, now: datetime) -> Change:
    """Start a job, or go on with one that was cancelled."""
    fields: Item = {
        "state": "SUBMITTED",
        "active": "batch",
        "starts": job.starts + 1,
        "started_at": now.isoformat(),
    }
    return Update(
        job_key(job.job_id),
        assign=fields,
        remove=("finished_at", "reason"),
        when=(OneOf("state", _STARTABLE), Equals("starts", job.starts)),
    )


def run_change(job: BatchJob, plan: str, chunks: int) -> Change:
    """Note that a job is planned."""
    return Update(
        job_key(job.job_id),
        assign={"state": "RUNNING", "plan": plan, "chunks": chunks},
        add={"lease": 1},
        when=(Equals("state", "SUBMITTED"), Equals("starts", job.starts)),
    )


def begin_changes(job: BatchJob, index: int) -> list[Change]:
    """Note that a worker begins with a chunk, unless the job is over or was started anew."""
    moving = (Equals("state", "RUNNING"), Equals("starts", job.starts))
    return [
        Update(job_key(job.job_id), add={"lease": 1}, when=moving),
        Update(chunk_row_key(job.job_id, index), add={"tries": 1}),
    ]


def move_change(job: BatchJob) -> Change:
    """Show that somebody works on a job."""
    return Update(
        job_key(job.job_id),
        add={"lease": 1},
        when=(OneOf("state", _MOVING), Equals("starts", job.starts)),
    )


def end_changes(
    job: BatchJob,
    state: Literal["COMPLETED", "FAILED", "CANCELLED"],
    now: datetime,
    *,
    reason: str | None = None,
    found: Item | None = None,
) -> Change:
    """End a job.

    Args:
        job: as it was read.
        state: how it ends.
        now: when.
        reason: why, unless it is completed.
        found: more fields.
    """
    why: Item = {} if reason is None else {"reason": reason}
    before = ("RUNNING",) if state == "COMPLETED" else ("WAITING", *_MOVING)
    return Update(
        job_key(job.job_id),
        assign={"state": state, "finished_at": now.isoformat(), **why, **(found or {})},
        remove=("active",),
        when=(OneOf("state", before), Equals("starts", job.starts)),
    )


def deleted_changes(job: BatchJob) -> list[Change]:
    """Forget a job that is over or never began, but for the rows of its chunks."""
    idle = OneOf("state", ("WAITING", "COMPLETED", "FAILED", "CANCELLED"))
    return [Delete(job_key(job.job_id), (idle,)), Delete(_pointer_key(job))]


def requested_event(job: BatchJob, now: datetime) -> BatchRequested:
    """Return the event of the start that comes next."""
    return BatchRequested(
        event_id=f"BatchRequested/{job.job_id}/{job.starts + 1}",
        run_id=job.alias.run_id,
        occurred_at=now,
        job_id=job.job_id,
        model=job.model,
        model_version=job.alias.model_version,
    )


def ended_event(  # noqa: PLR0917  (what SageMaker tells)
    job: BatchJob,
    state: Literal["COMPLETED", "FAILED", "CANCELLED"],
    now: datetime,
    region: str,
    bucket: str,
    reason: str | None = None,
    counts: tuple[int, int] = (0, 0),
) -> BatchEnded:
    """Return the event of a job that is over, in SageMaker's shape of asynchronous inference.

    Args:
        job: which.
        state: how it ended; SageMaker knows only Completed and Failed.
        now: when.
        region: AWS's.
        bucket: where input and output are.
        reason: why, unless it is completed.
        counts: its records, and those of them that do not fit.
    """
    done = state == "COMPLETED"
    told: dict[str, object] = {"failure_reason": reason or state.lower()}
    if done:
        location = f"s3://{bucket}/{job.output}"
        told = {
            "response_parameters": AsyncResponse(content_type=job.accept, output_location=location)
        }
    return BatchEnded(
        event_id=f"BatchEnded/{job.job_id}/{job.starts}",
        run_id=job.alias.run_id,
        occurred_at=now,
        job_id=job.job_id,
        state=state,
        records=counts[0],
        failed_records=counts[1],
        result=AsyncResult(
            aws_region=region,
            event_time=now,
            received_time=job.started_at or job.created_at,
            invocation_status="Completed" if done else "Failed",
            request_parameters=AsyncRequest(
                content_type=job.content_type,
                endpoint_name=job.model,
                input_location=f"s3://{bucket}/{job.input}",
            ),
            inference_id=job.inference_id,
            **told,  # type: ignore[arg-type]  # one of two fields
        ),
    )
