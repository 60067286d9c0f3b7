"""Save a plan and publish its events; after whatever a write may have met, read back and decide."""

import logging
from collections.abc import Callable

from rondo_core.errors import Unavailable
from rondo_core.events import Event, RoundAborted, RoundOpened, RoundSealed
from rondo_core.outbox import outbox_put, publish_now
from rondo_core.relay import relay
from rondo_core.run_store import MAX_CHANGES, CommitConflict
from rondo_core.telemetry import CounterName
from rondo_dispatcher.domain.plan import Plan
from rondo_dispatcher.handlers.ports import SERVICE, Ports

__all__ = ["look_until_done", "publish_left", "save"]

log = logging.getLogger(__name__)

Look = Callable[[], bool]
LOOKS = 6
"""Looks before a message goes back to its queue; each conflict means that others moved on."""

_COUNTERS: dict[type[Event], CounterName] = {
    RoundOpened: "rondo_rounds_opened_total",
    RoundSealed: "rondo_rounds_sealed_total",
    RoundAborted: "rondo_rounds_aborted_total",
}


def save(plan: Plan, *, ports: Ports) -> None:
    """Commit a plan, then publish its events.

    Raises:
        CommitConflict: a condition did not hold, and nothing but ``before`` was written.
        Unavailable: no answer: of the commit (it may have happened), or of the bus (then the events
            are in the outbox).
    """
    for start in range(0, len(plan.before), MAX_CHANGES):
        ports.store.commit(*plan.before[start : start + MAX_CHANGES])
    kept = (outbox_put(event, service=SERVICE) for event in plan.events)
    ports.store.commit(*plan.changes, *kept)
    for event in plan.events:
        if type(event) in _COUNTERS:
            ports.metrics.count(_COUNTERS[type(event)])
        log.info(
            "step saved",
            extra={
                "event": type(event).__name__,
                "event_id": event.event_id,
                "run_id": event.run_id,
                "round": getattr(event, "round", None),
                "reason": getattr(event, "reason", None),
                "outcome": "saved",
            },
        )
    publish_now(plan.events, service=SERVICE, store=ports.store, publish=ports.publish)


def look_until_done(look: Look, *, ports: Ports, hopeful: Look | None = None) -> None:
    """Call ``look`` until it returns False: nothing is left to do.

    A conflict or a missing answer means to read back, which is to look again. When that finds the
    step done, its event may still be unpublished, whoever made it: so what is left is published.

    Args:
        look: reads, decides and saves; returns whether there may be more to do at once.
        ports: where the events are published that are left.
        hopeful: takes the place of ``look`` as long as nobody else seems to be at it: reads less,
            and leaves more to the conditions of its commit.

    Raises:
        CommitConflict: others were faster each time.
        Unavailable: no answer, twice.
    """
    failure: CommitConflict | Unavailable | None = None
    for _ in range(LOOKS):
        now = hopeful if hopeful is not None and failure is None else look
        try:
            if not now():
                break
        except CommitConflict as exc:
            failure = exc
        except Unavailable as exc:
            if isinstance(failure, Unavailable):
                raise
            failure = exc
    else:
        raise failure or Unavailable(f"not done after {LOOKS} looks")
    if failure is not None:
        publish_left(ports=ports)


def publish_left(*, ports: Ports) -> int:
    """Publish what the outbox still holds; return how many events that were.

    Raises:
        Unavailable: not all were published; the rows stay.
    """
    return relay(
        service=SERVICE,
        store=ports.store,
        publish=ports.publish,
        clock=ports.clock,
        metrics=ports.metrics,
    )
