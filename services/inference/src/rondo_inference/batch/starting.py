"""How a job is started, in the trace of the request that asks for it."""

from rondo_core.outbox import outbox_put, publish_now
from rondo_core.tracing import traceparent
from rondo_inference.batch.ports import Ports
from rondo_inference.domain.batch_changes import requested_event, start_change
from rondo_inference.domain.batch_job import SERVICE, BatchJob

__all__ = ["start_job"]


def start_job(job: BatchJob, ports: Ports) -> None:
    """Start a job and publish that; the row and the outbox keep the span around, for the sweep.

    Args:
        job: as it was read; it waits for its input, or was cancelled.
        ports: where it is.

    Raises:
        CommitConflict: it was started or changed meanwhile.
        Unavailable: no answer; if it is started, the sweep publishes that.
    """
    now, trace = ports.clock.now(), traceparent()
    event = requested_event(job, now)
    kept = outbox_put(event, service=SERVICE, traceparent=trace)
    ports.rows.commit(start_change(job, now, trace), kept)
    publish_now([event], service=SERVICE, store=ports.rows, publish=ports.publish)
