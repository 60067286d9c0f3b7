"""How a job is read, and how it ends, whoever finds out that it is over."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import msgspec

from rondo_core.errors import Invalid, NotFound
from rondo_core.model_store import AlreadyExists
from rondo_core.outbox import outbox_put, publish_now
from rondo_core.rows import from_item
from rondo_core.run_store import CommitConflict, Item, RunStore
from rondo_inference.batch.ports import Ports
from rondo_inference.domain.batch_changes import end_changes, ended_event
from rondo_inference.domain.batch_job import (
    INPUTS,
    SERVICE,
    BatchJob,
    OwnedRow,
    job_key,
    links_key,
)

__all__ = ["end_job", "failing", "input_seen_by", "read_job"]

log = logging.getLogger(__name__)

_LONGEST_REASON = 1000
"""Characters: a name of the input may be in it, and a topic refuses an event of over 256 KiB."""


def read_job(job_id: str, rows: RunStore) -> BatchJob | None:
    """Return a job, strongly consistent, or None.

    Raises:
        Unavailable: no answer.
    """
    item = rows.get(job_key(job_id))
    return None if item is None else from_item(item, BatchJob)


def input_seen_by(asker: str | None, key: str, rows: RunStore) -> bool:
    """Return whether an input is no other's: not what was sent for a job that ``asker`` sees not.

    What comes by the links of a job that was deleted is its owner's still.

    Raises:
        Unavailable: no answer.
    """
    job_id = key.removeprefix(INPUTS).partition("/")[0]
    # In this order: a job's row goes in the transaction in which that of its links comes.
    found = rows.get(job_key(job_id)) or rows.get(links_key(job_id))
    return found is None or from_item(found, OwnedRow).seen_by(asker)


def end_job(
    job: BatchJob,
    state: Literal["COMPLETED", "FAILED", "CANCELLED"],
    *,
    ports: Ports,
    reason: str | None = None,
    counts: tuple[int, int] = (0, 0),
    found: Item | None = None,
) -> bool:
    """End a job and publish that; say whether it ends so, now or since an earlier try.

    Args:
        job: as it was read.
        state: how it ends.
        ports: where.
        reason: why, unless it is completed; row and event have so much of it as a message may have,
            ``failures`` has all.
        counts: its records, and those of them that do not fit.
        found: more fields.

    Raises:
        Unavailable: no answer; a repetition is safe.
    """
    if state == "FAILED":
        _write_reason(job, reason or "", ports)
    if reason is not None and len(reason) > _LONGEST_REASON:
        reason = f"{reason[:_LONGEST_REASON]}…"
    now = ports.clock.now()
    event = ended_event(job, state, now, ports.region, ports.bucket, reason, counts)
    change = end_changes(job, state, now, reason=reason, found=found)
    try:
        ports.rows.commit(change, outbox_put(event, service=SERVICE))
    except CommitConflict:
        current = read_job(job.job_id, ports.rows)
        return current is not None and current.state == state and current.starts == job.starts
    publish_now([event], service=SERVICE, store=ports.rows, publish=ports.publish)
    log.info("batch job over", extra={"job_id": job.job_id, "outcome": state, "reason": reason})
    return True


def _write_reason(job: BatchJob, reason: str, ports: Ports) -> None:
    try:
        ports.objects.put(job.failures, msgspec.json.encode({"error": reason}) + b"\n")
    except AlreadyExists:  # an earlier try told another reason, and it stands
        log.info("failure was told", extra={"job_id": job.job_id})


@contextmanager
def failing(job: BatchJob, ports: Ports, *, where: str = "") -> Iterator[None]:
    """Fail the job when its block finds out that it can never be done, and raise on.

    Args:
        job: which.
        ports: where it is.
        where: which part of it, for people.
    """
    try:
        yield
    except (Invalid, NotFound) as exc:
        end_job(job, "FAILED", ports=ports, reason=f"{where}{exc}")
        raise
