"""From events to tasks. The rows are the truth, so that a task is only a hint and may be lost."""

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial

from rondo_aggregator.domain.attempt import Attempt
from rondo_aggregator.handlers.ports import Jobs
from rondo_core.consumer import BatchHandler
from rondo_core.errors import Unavailable
from rondo_core.events import Event, RoundSealed, UpdateSubmitted

__all__ = ["ask_for_combination", "ask_for_validation", "intake_handlers"]

log = logging.getLogger(__name__)


def intake_handlers(jobs: Jobs) -> Mapping[type[Event], BatchHandler]:
    """Return the index of the intake: which function hears which event."""
    return {
        UpdateSubmitted: partial(ask_for_validation, jobs=jobs),
        RoundSealed: partial(ask_for_combination, jobs=jobs),
    }


def ask_for_validation(events: Sequence[UpdateSubmitted], *, jobs: Jobs) -> None:
    """Ask for one task per round of the batch, so that its updates share one transaction.

    Never raises for a broker that is away: the REPORTED row is the effect that the message stood
    for, and the sweep finds it.
    """
    clients: dict[Attempt, set[str]] = defaultdict(set)
    for event in events:
        clients[Attempt(event.run_id, event.round, event.attempt)].add(event.client_id)
    for attempt, names in clients.items():
        try:
            jobs.validate(attempt, sorted(names))
        except Unavailable as exc:
            _leave_to_the_sweep(attempt, exc)


def ask_for_combination(events: Sequence[RoundSealed], *, jobs: Jobs) -> None:
    """Ask for the result of every round that was sealed; otherwise as `ask_for_validation`."""
    for attempt in {Attempt(event.run_id, event.round, event.attempt) for event in events}:
        try:
            jobs.combine(attempt)
        except Unavailable as exc:
            _leave_to_the_sweep(attempt, exc)


def _leave_to_the_sweep(attempt: Attempt, exc: Unavailable) -> None:
    log.warning(
        "task left to the sweep",
        extra={"run_id": attempt.run_id, "round": attempt.round, "error": str(exc)},
    )
