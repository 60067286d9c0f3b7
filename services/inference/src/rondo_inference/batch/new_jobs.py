"""From what a caller wants to a job: every rule that its making may break."""

import re
from dataclasses import dataclass
from datetime import datetime

from rondo_core.errors import Invalid
from rondo_core.model_rows import AliasRow
from rondo_inference.batch.wire import NewJob
from rondo_inference.domain.batch_job import INPUTS, BatchJob, input_folder, result_folder
from rondo_inference.domain.batch_media import CSV, PICTURES, accepted, content_type

__all__ = ["Wishes", "key_of", "new_job"]

_LONGEST_KEY = 1024
"""Bytes: S3's limit ("Naming Amazon S3 objects")."""
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


def new_job(
    alias: AliasRow,
    wanted: NewJob,
    wishes: Wishes,
    *,
    job_id: str,
    owner: str | None,
    bucket: str,
    now: datetime,
) -> BatchJob:
    """Return a job that waits for its input.

    Args:
        alias: the version that predicts.
        wanted: see there.
        wishes: see there.
        job_id: a name that nothing else has.
        owner: see ``BatchJob``.
        bucket: the only one that inputs are read from.
        now: when.

    Raises:
        Invalid: a type that is not read or written, no input or two, or one that may not be read.
    """
    kind = content_type(wanted.content_type)
    accept = accepted(wanted.accept, kind)
    folder = result_folder(job_id)
    name = wishes.filename or ("output.csv" if accept == CSV else "output.jsonl")
    return BatchJob(
        job_id=job_id,
        owner=owner,
        model=alias.model,
        alias=alias,
        state="WAITING",
        content_type=kind,
        accept=accept,
        input=_input(job_id, wanted, kind, bucket),
        expected=wanted.files[0].size if wanted.files and kind not in PICTURES else None,
        output=f"{folder}output/{wishes.path}{name}",
        failures=f"{folder}failures.jsonl",
        inference_id=wishes.inference_id or job_id,
        created_at=now,
        ttl_seconds=wishes.ttl_seconds,
        timeout_seconds=wishes.timeout_seconds,
    )


def key_of(location: str) -> str | None:
    """Return the key in ``s3://BUCKET/KEY``, or None.

    >>> key_of("s3://models/batch/inputs/a.csv")
    'batch/inputs/a.csv'
    """
    found = _LOCATION.fullmatch(location)
    return None if found is None else found["key"]


def _input(job_id: str, wanted: NewJob, kind: str, bucket: str) -> str:
    if (wanted.input is None) == (not wanted.files):
        raise Invalid('a job has either "files" that will be sent, or an "input" in the store')
    if wanted.input is not None:
        return _readable(wanted.input, kind, bucket)
    names = [file.name for file in wanted.files]
    if kind in PICTURES:
        if len(set(names)) != len(names):
            raise Invalid("two of the files have the same name")
        return input_folder(job_id)
    if len(names) != 1:
        raise Invalid(f"{len(names)} files; several may only be pictures")
    return f"{input_folder(job_id)}{names[0]}"


def _readable(location: str, kind: str, bucket: str) -> str:
    """Only what was put there to be predicted is read, not all that the bucket has."""
    found = _LOCATION.fullmatch(location)
    if found is None or found["bucket"] != bucket:
        raise Invalid(f"{location!r} is not s3://{bucket}/{INPUTS}…")
    key = found["key"]
    if not key.startswith(INPUTS) or key == INPUTS:
        raise Invalid(f"{location!r} is not below s3://{bucket}/{INPUTS}")
    if len(key.encode()) > _LONGEST_KEY:
        raise Invalid(f"{location[:100]!r}… is longer than the key of an object may be")
    if key.endswith("/") != (kind in PICTURES):
        raise Invalid("pictures are a folder, whose location ends with a slash; all else is not")
    return key
