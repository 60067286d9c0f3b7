"""What callers ask of batch jobs: make, start, watch, cancel and delete them. All of it blocks."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Self

import msgspec

from rondo_core.errors import Conflict, Invalid, NotFound
from rondo_core.model_rows import AliasRow
from rondo_core.model_store import UploadLinks
from rondo_core.rows import from_item
from rondo_core.run_store import Delete, Key
from rondo_inference.batch.ending import end_job, input_seen_by, read_job
from rondo_inference.batch.new_jobs import Wishes, key_of, new_job
from rondo_inference.batch.planning import finished_chunks, finished_records
from rondo_inference.batch.ports import Ports
from rondo_inference.batch.starting import start_job
from rondo_inference.batch.wire import InputFile, JobList, JobView, NewJob, Result, Upload
from rondo_inference.domain.batch_changes import (
    created_changes,
    deleted_changes,
)
from rondo_inference.domain.batch_job import (
    BatchJob,
    BatchPointer,
    input_folder,
    job_pk,
    jobs_pk,
    result_folder,
)

__all__ = ["Orders"]

_LISTED = 100
_LONGEST_UPLOAD = timedelta(hours=1)
"""What began while its link was good is in the store so long after it, at the latest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """The jobs of this store; for who asks, those of others are not there.

    Attributes:
        ports: where they are.
        links: makes links for callers.
        new_id: makes a name that nothing else has.
        link_seconds: for how long a link is good.
        asker: who asks, and owns the jobs that are made; None: no keys are asked for.
    """

    ports: Ports
    links: UploadLinks
    new_id: Callable[[], str]
    link_seconds: int
    asker: str | None = None

    def of(self, asker: str | None) -> Self:
        """Return the same jobs for another who asks."""
        return replace(self, asker=asker)

    def make(self, alias: AliasRow, wanted: NewJob, wishes: Wishes | None = None) -> JobView:
        """Make a job; it waits for its input, or is started if that is in the store.

        Args:
            alias: the version that predicts, whatever is promoted meanwhile.
            wanted: see there.
            wishes: see there.

        Raises:
            Invalid: it breaks a rule.
            Unavailable: no answer.
        """
        job = self._new(alias, wanted, wishes or Wishes())
        self.ports.rows.commit(*created_changes(job))
        if wanted.input is not None:
            return self.start(job.model, job.job_id)
        uploads = [self._upload(job, file) for file in wanted.files]
        return msgspec.structs.replace(self._view(job), uploads=uploads)

    def make_of_bytes(
        self,
        alias: AliasRow,
        wanted: NewJob,
        body: bytes | memoryview,
        wishes: Wishes | None = None,
        *,
        name: str = "input",
    ) -> JobView:
        """Make and start a job of a short body, of which ``name`` is the file's; see `make`."""
        file = InputFile(name=name, size=len(body))
        job = self._new(alias, msgspec.structs.replace(wanted, files=[file]), wishes or Wishes())
        # The row first: no input is ever without an owner, or without somebody to delete it.
        self.ports.rows.commit(*created_changes(job))
        self.ports.objects.put(f"{input_folder(job.job_id)}{file.name}", body)
        return self.start(job.model, job.job_id)

    def check_payload(self, location: str, most: int) -> None:
        """Refuse an input that is too long; one that is not there, or not theirs, fails as its job.

        Raises:
            Invalid: it has more than ``most`` bytes.
            Unavailable: no answer.
        """
        key = key_of(location)
        if key is None or not input_seen_by(self.asker, key, self.ports.rows):
            return
        info = self.ports.objects.head(key)
        if info is not None and info.size > most:
            raise Invalid(f"the input has {info.size} bytes, at most {most} are taken here")

    def locations(self, model: str, job_id: str) -> tuple[str, str]:
        """Return where output and failures of a job will be.

        Raises:
            NotFound: no such job.
        """
        job = self._job(model, job_id)
        at = f"s3://{self.ports.bucket}/"
        return at + job.output, at + job.failures

    def start(self, model: str, job_id: str) -> JobView:
        """Start a job whose input is there, or go on with one that was cancelled; twice is once.

        Raises:
            NotFound: no such job.
            Conflict: it is over.
            Unavailable: no answer.
        """
        job = self._job(model, job_id)
        if job.state in {"SUBMITTED", "RUNNING"}:
            return self._view(job)
        if job.state not in {"WAITING", "CANCELLED"}:
            raise Conflict(f"job {job_id} is {job.state}: make a new one")
        start_job(job, self.ports)
        return self.show(model, job_id)

    def cancel(self, model: str, job_id: str) -> JobView:
        """Stop a job; what is finished of it is kept for a later start.

        Raises:
            NotFound: no such job.
            Conflict: it is completed or failed.
            Unavailable: no answer.
        """
        job = self._job(model, job_id)
        if job.state != "CANCELLED" and not end_job(
            job, "CANCELLED", ports=self.ports, reason="cancelled"
        ):
            raise Conflict(f"job {job_id} is {self._job(model, job_id).state}")
        return self.show(model, job_id)

    def show(self, model: str, job_id: str) -> JobView:
        """Return how a job stands, with links to what it made.

        Raises:
            NotFound: no such job.
            Unavailable: no answer.
        """
        return self._view(self._job(model, job_id))

    def list(self, model: str, *, before: str | None = None, most: int = _LISTED) -> JobList:
        """Return a model's jobs, the newest first; pages are of jobs that are there.

        Args:
            model: whose.
            before: ``older`` of the list that this one follows; None: from the newest on.
            most: so many at most.

        Raises:
            Unavailable: no answer.
        """
        pointers = [
            (str(item["SK"]), pointer.job_id)
            for item in reversed(self.ports.rows.query(jobs_pk(model)))
            if before is None or str(item["SK"]) < before
            if (pointer := from_item(item, BatchPointer)).seen_by(self.asker)
        ]
        page = pointers[:most]
        jobs = (read_job(job_id, self.ports.rows) for _, job_id in page)
        older = page[-1][0] if len(pointers) > most else None
        return JobList(jobs=[self._view(job) for job in filter(None, jobs)], older=older)

    def delete(self, model: str, job_id: str) -> None:
        """Delete a job that nobody works on, with what was sent for it and all that it made.

        Raises:
            NotFound: no such job.
            Conflict: it is under way; cancel it first.
            Unavailable: no answer; call it again.
        """
        job = self._job(model, job_id)
        if job.state in {"SUBMITTED", "RUNNING"}:
            raise Conflict(f"job {job_id} is {job.state}: cancel it first")
        for folder in (input_folder(job_id), result_folder(job_id)):
            self.ports.folders.remove(folder)
        rows = self.ports.rows
        for item in rows.query(job_pk(job_id), "CHUNK#"):
            rows.commit(Delete(Key(str(item["PK"]), str(item["SK"]))))
        until = job.created_at + timedelta(seconds=self.link_seconds) + _LONGEST_UPLOAD
        sent = job.input.startswith(input_folder(job_id))  # else it was in the store already
        open_until = until if sent and until > self.ports.clock.now() else None
        rows.commit(*deleted_changes(job, open_until))

    def _job(self, model: str, job_id: str) -> BatchJob:
        job = read_job(job_id, self.ports.rows)
        if job is None or job.model != model or not job.seen_by(self.asker):
            raise NotFound(f"model {model!r} has no batch job {job_id!r}")
        return job

    def _new(self, alias: AliasRow, wanted: NewJob, wishes: Wishes) -> BatchJob:
        bucket, now = self.ports.bucket, self.ports.clock.now()
        return new_job(
            alias, wanted, wishes, job_id=self.new_id(), owner=self.asker, bucket=bucket, now=now
        )

    def _upload(self, job: BatchJob, file: InputFile) -> Upload:
        link = self.links.for_upload(
            f"{input_folder(job.job_id)}{file.name}",
            size=file.size,
            sha256=file.sha256,
            expires_seconds=self.link_seconds,
        )
        return Upload(name=file.name, url=link.url, headers=dict(link.headers))

    def _view(self, job: BatchJob) -> JobView:
        counted = job.state in {"RUNNING", "CANCELLED", "FAILED"} and job.chunks
        finished = finished_chunks(job.job_id, self.ports) if counted else set[int]()
        records = finished_records(job.job_id, finished, self.ports) if finished else 0
        done = len(finished)
        if job.state == "COMPLETED":
            done, records = job.chunks or 0, job.records or 0
        view = JobView.of(job, bucket=self.ports.bucket, done=done, records=records)
        made = {}
        if job.state == "COMPLETED":
            made["output"] = self._result(job.output, job.output_bytes)
        if job.state == "FAILED" or job.failed_records:
            made["failures"] = self._result(job.failures, None)
        return msgspec.structs.replace(view, **made)

    def _result(self, key: str, size: int | None) -> Result:
        url = self.links.for_download(key, expires_seconds=self.link_seconds)
        return Result(location=f"s3://{self.ports.bucket}/{key}", url=url, size=size)
