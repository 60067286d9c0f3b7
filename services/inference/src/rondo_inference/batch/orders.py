"""What callers ask of batch jobs: make, start, watch, cancel and delete them. All of it blocks."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice

import msgspec

from rondo_core.errors import Conflict, Invalid, NotFound
from rondo_core.model_rows import AliasRow
from rondo_core.model_store import UploadLinks
from rondo_core.outbox import outbox_put, publish_now
from rondo_core.rows import from_item
from rondo_core.run_store import Delete, Key
from rondo_inference.batch.ending import end_job, read_job
from rondo_inference.batch.planning import finished_chunks
from rondo_inference.batch.ports import Ports
from rondo_inference.batch.wire import InputFile, JobList, JobView, NewJob, Result, Upload
from rondo_inference.domain.batch_job import (
    INPUTS,
    SERVICE,
    BatchJob,
    BatchPointer,
    created_changes,
    deleted_changes,
    input_folder,
    job_pk,
    jobs_pk,
    requested_event,
    result_folder,
    start_change,
)
from rondo_inference.domain.batch_media import CSV, PICTURES, accepted, content_type

__all__ = ["Orders", "Wishes"]

_LISTED = 100
_LOCATION = re.compile(r"s3://(?P<bucket>[^/]+)/(?P<key>.+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Wishes:
    """What callers of SageMaker's contract may wish beside what all may.

    Attributes:
        inference_id: their name of the request; None: the job's.
        ttl_seconds: see ``BatchJob``.
        timeout_seconds: see ``BatchJob``.
        path: between the job's folder and the output's name.
        filename: the output's name.
    """

    inference_id: str | None = None
    ttl_seconds: int | None = None
    timeout_seconds: int | None = None
    path: str = ""
    filename: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """The jobs of this store.

    Attributes:
        ports: where they are.
        links: makes links for callers.
        new_id: makes a name that nothing else has.
        link_seconds: for how long a link is good.
    """

    ports: Ports
    links: UploadLinks
    new_id: Callable[[], str]
    link_seconds: int

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
        self, alias: AliasRow, wanted: NewJob, body: bytes, wishes: Wishes
    ) -> JobView:
        """Make and start a job of a short body; see `make`."""
        file = InputFile(size=len(body))
        job = self._new(alias, msgspec.structs.replace(wanted, files=[file]), wishes)
        self.ports.objects.put(f"{input_folder(job.job_id)}{file.name}", body)
        self.ports.rows.commit(*created_changes(job))
        return self.start(job.model, job.job_id)

    def check_payload(self, location: str, most: int) -> None:
        """Refuse an input that is too long; one that is not there fails later, as its job.

        Raises:
            Invalid: it has more than ``most`` bytes.
            Unavailable: no answer.
        """
        found = _LOCATION.fullmatch(location)
        info = None if found is None else self.ports.objects.head(found["key"])
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
        now = self.ports.clock.now()
        event = requested_event(job, now)
        rows = self.ports.rows
        rows.commit(start_change(job, now), outbox_put(event, service=SERVICE))
        publish_now([event], service=SERVICE, store=rows, publish=self.ports.publish)
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

    def list(self, model: str) -> JobList:
        """Return a model's jobs, the newest first, at most 100.

        Raises:
            Unavailable: no answer.
        """
        found = [from_item(item, BatchPointer) for item in self.ports.rows.query(jobs_pk(model))]
        jobs = (read_job(pointer.job_id, self.ports.rows) for pointer in reversed(found))
        return JobList(jobs=[self._view(job) for job in islice(filter(None, jobs), _LISTED)])

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
        rows.commit(*deleted_changes(job))

    def _job(self, model: str, job_id: str) -> BatchJob:
        job = read_job(job_id, self.ports.rows)
        if job is None or job.model != model:
            raise NotFound(f"model {model!r} has no batch job {job_id!r}")
        return job

    def _new(self, alias: AliasRow, wanted: NewJob, wishes: Wishes) -> BatchJob:
        kind = content_type(wanted.content_type)
        accept = accepted(wanted.accept, kind)
        job_id = self.new_id()
        folder = result_folder(job_id)
        name = wishes.filename or ("output.csv" if accept == CSV else "output.jsonl")
        return BatchJob(
            job_id=job_id,
            model=alias.model,
            alias=alias,
            state="WAITING",
            content_type=kind,
            accept=accept,
            input=self._input(job_id, wanted, kind),
            expected=wanted.files[0].size if wanted.files and kind not in PICTURES else None,
            output=f"{folder}output/{wishes.path}{name}",
            failures=f"{folder}failures.jsonl",
            inference_id=wishes.inference_id or job_id,
            created_at=self.ports.clock.now(),
            ttl_seconds=wishes.ttl_seconds,
            timeout_seconds=wishes.timeout_seconds,
        )

    def _input(self, job_id: str, wanted: NewJob, kind: str) -> str:
        if (wanted.input is None) == (not wanted.files):
            raise Invalid('a job has either "files" that will be sent, or an "input" in the store')
        if wanted.input is not None:
            return self._key_of(wanted.input, kind)
        names = [file.name for file in wanted.files]
        if kind in PICTURES:
            if len(set(names)) != len(names):
                raise Invalid("two of the files have the same name")
            return input_folder(job_id)
        if len(names) != 1:
            raise Invalid(f"{len(names)} files; several may only be pictures")
        return f"{input_folder(job_id)}{names[0]}"

    def _key_of(self, location: str, kind: str) -> str:
        """Only what was put there to be predicted is read, not all that the bucket has."""
        found = _LOCATION.fullmatch(location)
        if found is None or found["bucket"] != self.ports.bucket:
            raise Invalid(f"{location!r} is not s3://{self.ports.bucket}/{INPUTS}…")
        if not found["key"].startswith(INPUTS) or found["key"] == INPUTS:
            raise Invalid(f"{location!r} is not below s3://{self.ports.bucket}/{INPUTS}")
        if found["key"].endswith("/") != (kind in PICTURES):
            raise Invalid(
                "pictures are a folder, whose location ends with a slash; all else is not"
            )
        return found["key"]

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
        done = len(finished_chunks(job.job_id, self.ports)) if counted else 0
        if job.state == "COMPLETED":
            done = job.chunks or 0
        view = JobView.of(job, bucket=self.ports.bucket, done=done)
        made = {}
        if job.state == "COMPLETED":
            made["output"] = self._result(job.output, job.output_bytes)
        if job.state == "FAILED" or job.failed_records:
            made["failures"] = self._result(job.failures, None)
        return msgspec.structs.replace(view, **made)

    def _result(self, key: str, size: int | None) -> Result:
        url = self.links.for_download(key, expires_seconds=self.link_seconds)
        return Result(location=f"s3://{self.ports.bucket}/{key}", url=url, size=size)
