"""The relay: publishes what a crash, or a topic that did not answer, left in an outbox.

No order is promised between events (`rondo_core.bus.Publish`), so none waits for another.
"""

import logging
from collections import deque
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import NamedTuple

from rondo_core.bus import Publish
from rondo_core.clock import Clock
from rondo_core.cloud_events import decode_event, traceparent_of
from rondo_core.errors import Invalid, Unavailable
from rondo_core.events import Event
from rondo_core.keys import aside_key, outbox_key, outbox_pk
from rondo_core.outbox import publish_now
from rondo_core.rows import OutboxRow, SetAsideRow, from_item, to_item
from rondo_core.run_store import CommitConflict, Delete, Present, Put, RunStore
from rondo_core.telemetry import Metrics
from rondo_core.tracing import resumed

__all__ = ["relay"]

log = logging.getLogger(__name__)

PATIENCE_SECONDS = 10.0
"""For how long a pass goes on after something failed: a topic that is away makes each call wait."""


class _Left(NamedTuple):
    """An event that was left behind, and the body of its row."""

    event: Event
    body: str


def relay(
    *, service: str, store: RunStore, publish: Publish, clock: Clock, metrics: Metrics
) -> int:
    """Publish everything that the service's outbox still holds; return how many events that were.

    One that cannot be published keeps no other from its turn in this pass. One that the topic will
    never take is set aside: kept in a row of its own, with the reason, and tried no more. One that
    this release cannot read stays, for a release that can.

    Raises:
        Unavailable: the bus or the store did not answer for one of them; what is left stays.
    """
    left = _left(service, store, metrics)
    refused: dict[str, str] = {}

    def send(part: Sequence[_Left]) -> None:
        events = [one.event for one in part]
        with resumed(traceparent_of(part[0].body)):
            refused.update(publish_now(events, service=service, store=store, publish=publish))

    failure = _send_all(left, send, clock)
    for one in left:
        if (reason := refused.get(one.event.event_id)) is not None:
            row = SetAsideRow(body=one.body, reason=reason, set_aside_at=clock.now())
            _set_aside(one.event, row, service, store, metrics)
    if failure is not None:
        raise failure
    return len(left)


def _left(service: str, store: RunStore, metrics: Metrics) -> list[_Left]:
    """Read the outbox; a row that cannot be read is logged and must not keep the others waiting."""
    left: list[_Left] = []
    for item in store.query(outbox_pk(service)):
        try:
            body = from_item(item, OutboxRow).body
            left.append(_Left(decode_event(body), body))
        except Invalid:
            log.exception("row skipped", extra={"event_id": item["SK"], "outcome": "invalid"})
            metrics.count("rondo_loop_failures_total", kind="relay", outcome="invalid")
    return left


def _send_all(
    left: Sequence[_Left], send: Callable[[Sequence[_Left]], None], clock: Clock
) -> Unavailable | None:
    """Send what belongs to one trace together, and what fails together in halves, down to one.

    Returns:
        A failure, if an event was left again.
    """
    groups = groupby(left, key=lambda one: traceparent_of(one.body))
    parts = deque[Sequence[_Left]](list(group) for _, group in groups)
    failure: Unavailable | None = None
    begun = clock.monotonic()
    while parts:
        part = parts.popleft()
        try:
            send(part)
        except Unavailable as exc:
            if clock.monotonic() - begun > PATIENCE_SECONDS:
                return exc
            if len(part) == 1:
                failure = exc
            else:  # one of them may be in the way of the others
                parts += [part[: len(part) // 2], part[len(part) // 2 :]]
    return failure


def _set_aside(
    event: Event, row: SetAsideRow, service: str, store: RunStore, metrics: Metrics
) -> None:
    fields: dict[str, object] = {
        "event": type(event).__name__,
        "event_id": event.event_id,
        "run_id": event.run_id,
        "round": getattr(event, "round", None),
        "reason": row.reason,
    }
    try:
        store.commit(
            Delete(outbox_key(service, event.event_id), when=(Present(),)),
            Put(aside_key(service, event.event_id), to_item(row)),
        )
    except CommitConflict:
        return  # another replica was faster, or the next pass comes to it
    except Invalid:  # with the reason it is more than a row may have
        log.exception("event cannot be set aside", extra=fields | {"outcome": "invalid"})
        return
    metrics.count("rondo_events_set_aside_total", kind=type(event).__name__)
    log.error("event set aside", extra=fields | {"outcome": "set-aside"})
