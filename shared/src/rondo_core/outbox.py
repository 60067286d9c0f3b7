"""The transactional outbox: an event is a row of its commit until it is published.

The service publishes right after the commit; ``relay``, called by its sweep, finds what a crash
left behind.
"""

from collections.abc import Iterable
from itertools import groupby

from rondo_core.bus import Publish
from rondo_core.cloud_events import decode_event, encode_event, traceparent_of
from rondo_core.events import Event
from rondo_core.keys import outbox_key, outbox_pk
from rondo_core.rows import OutboxRow, from_item, to_item
from rondo_core.run_store import MAX_CHANGES, Delete, Put, RunStore
from rondo_core.tracing import resumed

__all__ = ["outbox_put", "publish_now", "relay"]


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
) -> None:
    """Publish events whose commit succeeded, then drop their rows. Safe to call twice.

    Raises:
        Unavailable: not all were published; the rows stay for the relay.
    """
    batch = tuple(events)
    if not batch:
        return
    publish(*batch)
    for start in range(0, len(batch), MAX_CHANGES):
        block = batch[start : start + MAX_CHANGES]
        store.commit(*(Delete(outbox_key(service, event.event_id)) for event in block))


def relay(*, service: str, store: RunStore, publish: Publish) -> int:
    """Publish everything that the service's outbox still holds; return how many events that were.

    Raises:
        Unavailable: the bus or the store did not answer; what is left stays.
    """
    rows = [from_item(item, OutboxRow) for item in store.query(outbox_pk(service))]
    for trace, group in groupby(rows, key=lambda row: traceparent_of(row.body)):
        with resumed(trace):
            events = [decode_event(row.body) for row in group]
            publish_now(events, service=service, store=store, publish=publish)
    return len(rows)
