"""Batch predictions: a file goes to the store, a job scores it, the output comes back.

What is known of a job lies beside the output, so that a program that was killed goes on with it.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import quote

import httpx
import msgspec

from rondo.gateway_link import GatewayLink
from rondo.retry import Patience
from rondo.store_link import StoreLink
from rondo_core.errors import Invalid, NotFound
from rondo_core.wire import Upload

__all__ = ["BatchJob", "BatchPredictions", "only_model"]

LOOK_SECONDS = 0.5
_BLOCK_BYTES = 1024 * 1024
_TYPES = {
    ".csv": "text/csv",
    ".jsonl": "application/jsonlines",
    ".ndjson": "application/jsonlines",
    ".npy": "application/x-npy",
}
_PICTURES = (".png", ".jpg", ".jpeg")


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """An object that a job made."""

    url: str
    size: int | None = None


class Link(Upload, frozen=True, kw_only=True):
    """Where a file is to be put."""

    name: str


class BatchJob(msgspec.Struct, frozen=True, kw_only=True):
    """How a job stands.

    Attributes:
        progress: from 0 to 1.
        records_done: records that are scored, of a number that is only known at the end.
        failed_records: records that did not fit; each has its line in the output, with the reason.
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
        http: with inference's address as its base.
        store: without a base address, for links.
        patience: for how long to repeat what finds nobody.
        show: is told how a job stands, again and again.
    """

    http: httpx.Client
    store: httpx.Client
    patience: Patience
    show: Callable[[BatchJob], None]

    def predict(self, model: str, source: Path, target: Path) -> BatchJob:
        """Predict every record of a file, or every picture of a folder. Blocks until it is done.

        Called again after an interruption it goes on with the same job.

        Args:
            model: its name.
            source: ``.csv``, ``.jsonl``, ``.npy``, or a folder of PNG and JPEG files.
            target: ``.csv`` or ``.jsonl``; written when it is complete. What did not fit is also
                listed in ``TARGET.failures.jsonl``.

        Raises:
            Invalid: the file is of another kind, or the job failed; the text says why.
            GatewayError: inference refuses.
            Unavailable: it does not answer.
        """
        files, kind = _described(source)
        sha256 = _digest_of(files)
        note = target.with_name(f".{target.name}.rondo-job")
        job = self._resumed(note, model, sha256) or self._made(model, files, kind, target)
        note.write_bytes(
            msgspec.json.encode(
                _Note(url=str(self.http.base_url), model=model, job_id=job.job_id, sha256=sha256)
            )
        )
        job = self._awaited(self._started(job, files))
        if job.state != "COMPLETED" or job.output is None:
            note.unlink()
            raise Invalid(f"job {job.job_id} is {job.state}: {job.reason or 'no reason is told'}")
        self._fetch(job.output, target)
        if job.failures is not None:
            self._fetch(job.failures, target.with_name(f"{target.name}.failures.jsonl"))
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
        if (known.url, known.model, known.sha256) != (str(self.http.base_url), model, sha256):
            return None
        try:
            job = self._get(model, known.job_id)
        except NotFound:
            return None
        # The links of a job that waits are not told twice: what was sent of it is not missed.
        return None if job.state in {"FAILED", "WAITING"} else job

    def _made(self, model: str, files: dict[Path, str], kind: str, target: Path) -> BatchJob:
        accept = _TYPES.get(target.suffix.lower())
        if accept not in {"text/csv", "application/jsonlines"}:
            raise Invalid(f"{target}: the output is .csv or .jsonl")
        wanted = {
            "content_type": kind,
            "accept": accept,
            "files": [
                {"name": _name(at, path), "size": path.stat().st_size, "sha256": sha256}
                for at, (path, sha256) in enumerate(files.items())
            ],
        }
        return self._link.send("POST", _path(model), wanted, BatchJob)

    def _started(self, job: BatchJob, files: dict[Path, str]) -> BatchJob:
        self.show(job)
        for path, link in zip(files, job.uploads, strict=False):
            StoreLink(self.store, self.patience).upload(path, link)
        if job.state not in {"WAITING", "CANCELLED"}:
            return job
        return self._link.send("POST", f"{_path(job.model, job.job_id)}/start", {}, BatchJob)

    def _awaited(self, job: BatchJob) -> BatchJob:
        while job.state in {"SUBMITTED", "RUNNING"}:
            self.show(job)
            self.patience.clock.sleep(LOOK_SECONDS)
            job = self._get(job.model, job.job_id)
        self.show(job)
        return job

    def _get(self, model: str, job_id: str) -> BatchJob:
        return self._link.get(_path(model, job_id), BatchJob)

    def _fetch(self, made: Made, target: Path) -> None:
        StoreLink(self.store, self.patience).download(made.url, target, size=made.size)

    @property
    def _link(self) -> GatewayLink:
        return GatewayLink(self.http, self.patience)


def only_model(http: httpx.Client, patience: Patience) -> str:
    """Return the name of the only model that is served.

    Raises:
        Invalid: there is none, or there are several.
    """
    found = GatewayLink(http, patience).get("/catalogue", _Catalogue)
    names = sorted({entry.name for entry in found.models})
    if len(names) != 1:
        raise Invalid(f"name the model; served are {', '.join(names) or 'none'}")
    return names[0]


def _described(source: Path) -> tuple[dict[Path, str], str]:
    """Return each file with its digest, in the order of the records, and their type."""
    if source.is_dir():
        paths = sorted(path for path in source.iterdir() if path.suffix.lower() in _PICTURES)
        if not paths:
            raise Invalid(f"{source} has no file that ends in {', '.join(_PICTURES)}")
        return {path: _sha256(path) for path in paths}, "image/png"
    kind = _TYPES.get(source.suffix.lower())
    if kind is None:
        raise Invalid(f"{source}: {source.suffix or 'no suffix'} is not one of {', '.join(_TYPES)}")
    return {source: _sha256(source)}, kind


def _name(at: int, path: Path) -> str:
    """Return a name that a key may have."""
    plain = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in path.name)
    return plain if plain[:1].isalnum() else f"{at:06d}{plain}"


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for block in iter(partial(file.read, _BLOCK_BYTES), b""):
            digest.update(block)
    return digest.hexdigest()


def _digest_of(files: dict[Path, str]) -> str:
    told = "".join(f"{path.name} {sha256}\n" for path, sha256 in files.items())
    return hashlib.sha256(told.encode()).hexdigest()


def _path(model: str, job_id: str = "") -> str:
    path = f"/batch/{quote(model, safe='')}/jobs"
    return f"{path}/{job_id}" if job_id else path
