"""The index of the service: which handler hears which event."""

from collections.abc import Mapping
from functools import partial

from rondo_core.consumer import BatchHandler
from rondo_core.events import (
    Event,
    RoundRequested,
    RunRequested,
    UpdateAccepted,
    UpdateRejected,
    VersionCommitted,
    VersionHeld,
    VersionPromoted,
)
from rondo_dispatcher.handlers.advancing import on_hints
from rondo_dispatcher.handlers.asking import on_round_requested
from rondo_dispatcher.handlers.ports import Ports
from rondo_dispatcher.handlers.runs import on_run_requested, on_verdict

__all__ = ["handler_table"]


def handler_table(ports: Ports) -> Mapping[type[Event], BatchHandler]:
    """Return the handlers with their ports bound."""
    return {
        RunRequested: partial(on_run_requested, ports=ports),
        RoundRequested: partial(on_round_requested, ports=ports),
        UpdateAccepted: partial(on_hints, ports=ports),
        UpdateRejected: partial(on_hints, ports=ports),
        VersionCommitted: partial(on_hints, ports=ports),
        VersionPromoted: partial(on_verdict, ports=ports),
        VersionHeld: partial(on_verdict, ports=ports),
    }
