"""The transactional outbox: an event is a row of its commit until it is published.

The service publishes right after the commit; `rondo_core.relay`, called by its sweep, finds what a
crash left behind.
"""

from collections.abc import Iterable, Mapping

from rondo_core.bus import Publish
from rondo_core.cloud_events import encode_event
from rondo_core.errors import EventsRefused
from rondo_core.events import Event
from rondo_core.keys import outbox_key
from rondo_core.rows import OutboxRow, to_item
from rondo_core.run_store import MAX_CHANGES, Delete, Put, RunStore

__all__ = ["outbox_put", "publish_now"]


def outbox_put(event: Event, *, service: str, traceparent: str = "") -> Put:
    """Return the change that makes the event part of a commit.

    The same event again is the same row.

    Args:
        event: to be published.
        service: whose it is.
        traceparent: the span that `relay` publishes it in, if it has to; empty: in none.
    """
    body = encode_event(event, source=f"rondo/{service}", traceparent=traceparent)
    return Put(outbox_key(service, event.event_id), to_item(OutboxRow(body=body)))


def publish_now(
    events: Iterable[Event], *, service: str, store: RunStore, publish: Publish
) -> Mapping[str, str]:
    """Publish events whose commit succeeded, then drop their rows. Safe to call twice.

    Returns:
        What the topic will never take: event id -> why. Whoever made the commit need not care:
        these rows stay too, and the relay sets them aside.

    Raises:
        Unavailable: not all were published; the rows stay for the relay.
    """
    batch, refused = tuple(events), dict[str, str]()
    if not batch:
        return refused
    try:
        publish(*batch)
    except EventsRefused as exc:
        refused = exc.reasons
    out = [event.event_id for event in batch if event.event_id not in refused]
    for start in range(0, len(out), MAX_CHANGES):
        block = out[start : start + MAX_CHANGES]
        store.commit(*(Delete(outbox_key(service, event_id)) for event_id in block))
    return refused
