"""Batch predictions: a file goes to the store, a job scores it, the output comes back.

What is known of a job lies beside the output, so that a program that was killed goes on with it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import httpx
import msgspec

from rondo.batch_files import TYPES, check_outputs, described, digest_of, failures_of, safe_name
from rondo.errors import Forbidden, TooMany
from rondo.inference_link import InferenceLink
from rondo.store_link import StoreLink
from rondo_core.errors import Invalid, NotFound
from rondo_core.wire import Upload

__all__ = ["BatchJob", "BatchPredictions", "only_model"]

LOOK_SECONDS = 0.5
LONGEST_WAIT_SECONDS = 600.0
"""After that it is asked again, however long a server wants to be left alone."""


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """An object that a job made."""

    url: str
    size: int | None = None


class Link(Upload, frozen=True, kw_only=True):
    """Where a file is to be put."""

    name: str


class Warned(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A column of the input and its rule, or how many more there are."""

    column: str | None = None
    rule: str | None = None
    more: int = 0


class BatchJob(msgspec.Struct, frozen=True, kw_only=True):
    """How a job stands.

    Attributes:
        progress: from 0 to 1.
        records_done: records that are scored, of a number that is only known at the end.
        failed_records: records that did not fit; each has its line in the output, with the reason.
        warnings: columns that the model does not have, few of them.
    """

    job_id: str
    model: str
    version: int
    state: str
    progress: float = 0.0
    records_done: int = 0
    reason: str | None = None
    records: int | None = None
    failed_records: int | None = None
    warnings: list[Warned] = []
    output: Made | None = None
    failures: Made | None = None
    uploads: list[Link] = []


class _Note(msgspec.Struct, frozen=True, kw_only=True):
    """What is written beside the output while a job is under way."""

    url: str
    model: str
    job_id: str
    sha256: str


class _Catalogue(msgspec.Struct, frozen=True):
    class _Entry(msgspec.Struct, frozen=True):
        name: str

    models: list[_Entry]


@dataclass(frozen=True, slots=True)
class BatchPredictions:
    """Inference's batch jobs, as one caller sees them.

    Attributes:
        link: to inference.
        store: without a base address, for the links of a job; gets no key.
        show: is told how a job stands, again and again.
        wait: is told for how many seconds a limit of requests makes the job wait.
    """

    link: InferenceLink
    store: httpx.Client
    show: Callable[[BatchJob], None]
    wait: Callable[[float], None]

    def predict(
        self, model: str, source: Path, target: Path, *, overwrite: bool = False
    ) -> BatchJob:
        """Predict every record of a file, or every picture of a folder. Blocks until it is done.

        Called again after an interruption it goes on with the same job. Once there is a job, a
        limit of requests is waited out, however often it is met.

        Args:
            model: its name.
            source: ``.csv``, ``.jsonl``, ``.npy``, or a folder of PNG and JPEG files.
            target: ``.csv`` or ``.jsonl``; written when it is complete. What did not fit is also
                listed in ``TARGET.failures.jsonl``.
            overwrite: whether these two may exist, unless it is this very job that is gone on with.

        Raises:
            Invalid: an output exists or is the input, the file is of another kind, or the job
                failed; the text says why.
            GatewayError: inference refuses.
            Unavailable: it does not answer.
        """
        files, kind = described(source)
        sha256 = digest_of(files)
        note = target.with_name(f".{target.name}.rondo-job")
        job = self._resumed(note, model, sha256)
        check_outputs(source, target, overwrite=overwrite or job is not None)
        job = job or self._made(model, files, kind, target)
        note.write_bytes(
            msgspec.json.encode(
                _Note(url=self.link.url, model=model, job_id=job.job_id, sha256=sha256)
            )
        )
        job = self._awaited(self._started(job, files))
        if job.state != "COMPLETED" or job.output is None:
            note.unlink()
            raise Invalid(f"job {job.job_id} is {job.state}: {job.reason or 'no reason is told'}")
        self._fetch(job.output, target)
        if job.failures is not None:
            self._fetch(job.failures, failures_of(target))
        else:
            failures_of(target).unlink(missing_ok=True)  # of the output that was overwritten
        note.unlink()
        return job

    def _resumed(self, note: Path, model: str, sha256: str) -> BatchJob | None:
        """Return the job of an earlier call, if it is about the same bytes and still there."""
        if not note.exists():
            return None
        try:
            known = msgspec.json.decode(note.read_bytes(), type=_Note)
        except msgspec.MsgspecError:
            return None  # a call was killed while it wrote
        if (known.url, known.model, known.sha256) != (self.link.url, model, sha256):
            return None
        try:
            job = self._get(model, known.job_id)
        except NotFound:
            return None
        # The links of a job that waits are not told twice: what was sent of it is not missed.
        return None if job.state in {"FAILED", "WAITING"} else job

    def _made(self, model: str, files: dict[Path, str], kind: str, target: Path) -> BatchJob:
        accept = TYPES.get(target.suffix.lower())
        if accept not in {"text/csv", "application/jsonlines"}:
            raise Invalid(f"{target}: the output is .csv or .jsonl")
        wanted = {
            "content_type": kind,
            "accept": accept,
            "files": [
                {"name": safe_name(at, path), "size": path.stat().st_size, "sha256": sha256}
                for at, (path, sha256) in enumerate(files.items())
            ],
        }
        return self.link.post(_path(model), wanted, BatchJob)

    def _started(self, job: BatchJob, files: dict[Path, str]) -> BatchJob:
        self.show(job)
        for path, link in zip(files, job.uploads, strict=False):
            self._store.upload(path, link)
        if job.state not in {"WAITING", "CANCELLED"}:
            return job
        start = f"{_path(job.model, job.job_id)}/start"
        return self._let(lambda: self.link.post(start, {}, BatchJob))

    def _awaited(self, job: BatchJob) -> BatchJob:
        while job.state in {"SUBMITTED", "RUNNING"}:
            self.show(job)
            self.link.patience.clock.sleep(LOOK_SECONDS)
            job = self._get(job.model, job.job_id)
        self.show(job)
        return job

    def _get(self, model: str, job_id: str) -> BatchJob:
        return self._let(lambda: self.link.get(_path(model, job_id), BatchJob))

    def _let(self, call: Callable[[], BatchJob]) -> BatchJob:
        """Call as often as it takes until no limit of requests is in the way."""
        while True:
            try:
                return call()
            except TooMany as exc:
                seconds = min(max(exc.retry_after_seconds, LOOK_SECONDS), LONGEST_WAIT_SECONDS)
            self.wait(seconds)
            self.link.patience.clock.sleep(seconds)

    def _fetch(self, made: Made, target: Path) -> None:
        self._store.download(made.url, target, size=made.size)

    @property
    def _store(self) -> StoreLink:
        return StoreLink(self.store, self.link.patience)


def only_model(link: InferenceLink) -> str:
    """Return the name of the only model that is served.

    Raises:
        Invalid: there is none, there are several, or the key is not for all models.
    """
    try:
        found = link.get("/catalogue", _Catalogue)
    except Forbidden as exc:
        raise Invalid(f"name the model: {exc}") from exc
    names = sorted({entry.name for entry in found.models})
    if len(names) != 1:
        raise Invalid(f"name the model; served are {', '.join(names) or 'none'}")
    return names[0]


def _path(model: str, job_id: str = "") -> str:
    path = f"/batch/{quote(model, safe='')}/jobs"
    return f"{path}/{job_id}" if job_id else path
