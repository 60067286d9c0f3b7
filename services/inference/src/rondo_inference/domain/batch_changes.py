"""Every change of a batch job's rows, and its events: pure functions, conditional writes."""

from datetime import datetime
from typing import Literal

from msgspec import to_builtins

from rondo_core.async_results import AsyncRequest, AsyncResponse, AsyncResult
from rondo_core.events import BatchEnded, BatchRequested
from rondo_core.rows import to_item
from rondo_core.run_store import Absent, Change, Delete, Equals, Item, OneOf, Present, Put, Update
from rondo_inference.domain.batch_job import (
    MOVING,
    BatchJob,
    BatchPointer,
    OpenLinks,
    chunk_row_key,
    job_key,
    links_key,
    pointer_key,
)
from rondo_inference.domain.batch_plan import Plan

__all__ = [
    "begin_changes",
    "created_changes",
    "deleted_changes",
    "end_changes",
    "ended_event",
    "move_change",
    "requested_event",
    "run_change",
    "scored_change",
    "start_change",
]

_STARTABLE = ("WAITING", "CANCELLED")


def created_changes(job: BatchJob) -> list[Change]:
    """Make a job."""
    row = BatchPointer(job_id=job.job_id, owner=job.owner)
    pointer = Put(pointer_key(job), to_item(row))
    return [Put(job_key(job.job_id), to_item(job), (Absent(),)), pointer]


def start_change(job: BatchJob, now: datetime, traceparent: str) -> Change:
    """Start a job, or go on with one that was cancelled.

    Args:
        job: as it was read.
        now: when.
        traceparent: see ``BatchJob``.
    """
    fields: Item = {
        "state": "SUBMITTED",
        "active": "batch",
        "starts": job.starts + 1,
        "started_at": now.isoformat(),
        "traceparent": traceparent,
    }
    return Update(
        job_key(job.job_id),
        assign=fields,
        remove=("finished_at", "reason"),
        when=(OneOf("state", _STARTABLE), Equals("starts", job.starts)),
    )


def run_change(job: BatchJob, plan: Plan, digest: str) -> Change:
    """Note that a job is planned."""
    found: Item = {
        "plan": digest,
        "chunks": len(plan.chunks),
        "warnings": to_builtins(plan.warnings),
    }
    return Update(
        job_key(job.job_id),
        assign={"state": "RUNNING", **found},
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


def scored_change(job_id: str, index: int, records: int) -> Change:
    """Note how many records a chunk has, unless its job was deleted; the same however often."""
    return Update(chunk_row_key(job_id, index), assign={"records": records}, when=(Present(),))


def move_change(job: BatchJob) -> Change:
    """Show that somebody works on a job."""
    return Update(
        job_key(job.job_id),
        add={"lease": 1},
        when=(OneOf("state", MOVING), Equals("starts", job.starts)),
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
    before = ("RUNNING",) if state == "COMPLETED" else ("WAITING", *MOVING)
    return Update(
        job_key(job.job_id),
        assign={"state": state, "finished_at": now.isoformat(), **why, **(found or {})},
        remove=("active",),
        when=(OneOf("state", before), Equals("starts", job.starts)),
    )


def deleted_changes(job: BatchJob, links_until: datetime | None) -> list[Change]:
    """Forget a job that is over or never began, but for the rows of its chunks.

    Args:
        job: which.
        links_until: from when on nothing can come by its links; None: nothing can now.
    """
    idle = OneOf("state", ("WAITING", "COMPLETED", "FAILED", "CANCELLED"))
    left: list[Change] = []
    if links_until is not None:
        row = OpenLinks(job_id=job.job_id, owner=job.owner, until=links_until)
        left.append(Put(links_key(job.job_id), to_item(row)))
    return [Delete(job_key(job.job_id), (idle,)), Delete(pointer_key(job)), *left]


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
        ignored_columns=job.ignored_columns,
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
