"""The batch side's sweep: whatever a message or a task should have done and nobody did."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

from rondo_core.errors import Invalid
from rondo_core.events import BatchRequested
from rondo_core.relay import relay
from rondo_core.rows import from_item
from rondo_core.run_store import Delete
from rondo_core.sightings import Sightings
from rondo_core.telemetry import Metrics
from rondo_core.tracing import resumed
from rondo_inference.batch.ending import end_job, read_job
from rondo_inference.batch.planning import ask_for_chunks
from rondo_inference.batch.ports import Hints, Ports
from rondo_inference.domain.batch_job import (
    SERVICE,
    BatchJob,
    OpenLinks,
    input_folder,
    links_key,
)

__all__ = ["BatchSweeper", "ask_for_plans"]

log = logging.getLogger(__name__)


def ask_for_plans(events: Sequence[BatchRequested], *, hints: Hints) -> None:
    """Ask for the plan of every job that was started.

    Raises:
        Unavailable: the broker is away; the message comes again, and the sweep finds the row.
    """
    for job_id in {event.job_id for event in events}:
        hints.plan(job_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSweeper:
    """Ends jobs under way that are overdue, and asks again for what stands still.

    Attributes:
        ports: where they are.
        hints: asks workers.
        lanes: chunks of a job that are asked for at a time.
        lease_seconds: a job that did not move for this long is asked for again; measured on this
            process's monotonic clock.
        metrics: counts what the topic refuses.
        sightings: what this process saw in earlier sweeps.
    """

    ports: Ports
    hints: Hints
    lanes: int
    lease_seconds: float
    metrics: Metrics
    sightings: Sightings = field(default_factory=Sightings)

    def __call__(self) -> None:
        """Sweep once.

        Raises:
            Unavailable: a store, the bus or the broker did not answer; the next sweep begins anew.
        """
        try:
            relay(
                service=SERVICE,
                store=self.ports.rows,
                publish=self.ports.publish,
                clock=self.ports.clock,
                metrics=self.metrics,
            )
        finally:  # a topic that does not take an event keeps no job waiting
            self._sweep_jobs()

    def _sweep_jobs(self) -> None:
        for item in self.ports.rows.active("batch"):
            try:
                if item["SK"] == "LINKS":
                    self._end_links(from_item(item, OpenLinks))
                    continue
                listed = from_item(item, BatchJob)
            except Invalid:
                log.exception("row skipped", extra={"outcome": "invalid"})
                continue
            job = read_job(listed.job_id, self.ports.rows)
            if job is not None and not job.is_over:
                with resumed(job.traceparent):
                    self._sweep(job)
        self.sightings.end_sweep()

    def _end_links(self, links: OpenLinks) -> None:
        """Remove what came by the links of a deleted job, once nothing more can come."""
        if self.ports.clock.now() >= links.until:
            self.ports.folders.remove(input_folder(links.job_id))
            self.ports.rows.commit(Delete(links_key(links.job_id)))

    def _sweep(self, job: BatchJob) -> None:
        if (reason := job.overdue(self.ports.clock.now())) is not None:
            end_job(job, "FAILED", ports=self.ports, reason=reason)
            return
        mark, now = (job.state, job.starts, job.lease), self.ports.clock.monotonic()
        if not self.sightings.due(job.job_id, mark, now=now, wait=self.lease_seconds):
            return
        log.warning("job asked for again", extra={"job_id": job.job_id, "outcome": job.state})
        if job.state == "SUBMITTED":
            self.hints.plan(job.job_id)
        else:
            ask_for_chunks(job.job_id, job.chunks or 0, self.ports, self.hints, self.lanes)
