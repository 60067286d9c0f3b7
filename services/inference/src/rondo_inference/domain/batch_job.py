"""A batch job's rows and objects, and what they are called.

``BATCH#job / META`` is the truth: WAITING (for its input) → SUBMITTED → RUNNING (planned) →
COMPLETED or FAILED; CANCELLED from each of the first three, and SUBMITTED again from there.
``BATCH#job / CHUNK#n`` counts how often a chunk was begun, and has its number of records;
``BATCH#job / LINKS`` outlives the job. That a chunk is finished is an object.
"""

from datetime import datetime, timedelta
from typing import Literal

from rondo_core.model_rows import AliasRow
from rondo_core.rows import AnyRow
from rondo_core.run_store import Key
from rondo_inference.domain.told import Told

__all__ = [
    "INPUTS",
    "MOVING",
    "SERVICE",
    "BatchJob",
    "BatchPointer",
    "BatchState",
    "ChunkRow",
    "OpenLinks",
    "OwnedRow",
    "chunk_key",
    "chunk_row_key",
    "chunks_folder",
    "input_folder",
    "job_key",
    "job_pk",
    "jobs_pk",
    "links_key",
    "plan_key",
    "pointer_key",
    "result_folder",
]

SERVICE = "batch"
"""Names the SQS queue, the broker's list and the outbox."""

INPUTS = "batch/inputs/"
"""Where inputs are: no job reads anything else of the bucket."""

BatchState = Literal["WAITING", "SUBMITTED", "RUNNING", "COMPLETED", "FAILED", "CANCELLED"]
MOVING: tuple[BatchState, ...] = ("SUBMITTED", "RUNNING")


class OwnedRow(AnyRow, frozen=True, kw_only=True):
    """What is somebody's."""

    owner: str | None = None
    """Who asked for it, as the file of keys names them; None: no key was asked for then."""

    def seen_by(self, asker: str | None) -> bool:
        """Return whether it is there for who asks: the one rule of lists, actions and inputs.

        Args:
            asker: as ``owner``; None: no keys are asked for, so all is there for everybody.

        >>> [OwnedRow(owner="a").seen_by(asker) for asker in ("a", "b", None)]
        [True, False, True]
        >>> OwnedRow().seen_by("a")
        False
        """
        return asker is None or asker == self.owner


class BatchJob(OwnedRow, frozen=True, kw_only=True):
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
    warnings: tuple[Told, ...] = ()
    """What is told of the input's columns, known as soon as it is planned."""
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
    traceparent: str = ""
    """The span of the request that started it last, for what the sweep asks for; else empty."""

    @property
    def is_over(self) -> bool:
        """Whether nothing works on it any more."""
        return self.state in {"COMPLETED", "FAILED", "CANCELLED"}

    @property
    def ignored_columns(self) -> int:
        """How many columns its CSV has that the model does not have."""
        return sum(told.more or 1 for told in self.warnings)

    def overdue(self, now: datetime) -> str | None:
        """Say why it has to fail now, or None."""
        if self.started_at is None or self.state not in MOVING:
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


class BatchPointer(OwnedRow, frozen=True, kw_only=True):
    """``BATCHES#model / time#job``: a job exists."""

    job_id: str


class ChunkRow(AnyRow, frozen=True, kw_only=True):
    """``BATCH#job / CHUNK#n``."""

    tries: int = 0
    records: int = 0
    """Of the chunk, known as soon as it is scored; that it is finished is its object."""


class OpenLinks(OwnedRow, frozen=True, kw_only=True):
    """``BATCH#job / LINKS``: the job was deleted, but what is put at its links would still stay.

    Its owner is the job's, and so is what is put there.
    """

    job_id: str
    until: datetime
    """From then on nothing can come any more."""
    active: Literal["batch"] = "batch"


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


def links_key(job_id: str) -> Key:
    """Key of the row that is left of a deleted job while its links are good."""
    return Key(job_pk(job_id), "LINKS")


def pointer_key(job: BatchJob) -> Key:
    """Key of a job's entry in the list of its model's jobs."""
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
