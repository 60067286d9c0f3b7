"""The aggregator's sweep: whatever a message or a task should have done and nobody did."""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from rondo_aggregator.domain.attempt import SERVICE, Attempt
from rondo_aggregator.handlers.ports import Jobs
from rondo_core.bus import Publish
from rondo_core.clock import Clock
from rondo_core.errors import Invalid
from rondo_core.model_store import ModelStore
from rondo_core.relay import relay
from rondo_core.rows import RoundRow, Row, UpdateRow, from_item
from rondo_core.run_store import Item, RunStore
from rondo_core.sightings import Sightings
from rondo_core.telemetry import Metrics

__all__ = ["Sweeper"]

log = logging.getLogger(__name__)

_GRACE_SECONDS = 3.0
"""Longer than a healthy hint takes, so that the sweep repeats only what is stuck."""

_BATCH = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweeper:
    """Looks at all active rounds and asks again for verdicts and results that do not come.

    Attributes:
        lease_seconds: a claim whose lease did not move for this long may be taken over; measured
            on this process's monotonic clock.
        sightings: what this process saw in earlier sweeps.
    """

    store: RunStore
    models: ModelStore
    jobs: Jobs
    publish: Publish
    clock: Clock
    metrics: Metrics
    lease_seconds: float
    sightings: Sightings = field(default_factory=Sightings)

    def __call__(self) -> None:
        """Sweep once.

        Raises:
            Unavailable: a store, the bus or the broker did not answer; the next sweep begins anew.
        """
        try:
            relay(
                service=SERVICE,
                store=self.store,
                publish=self.publish,
                clock=self.clock,
                metrics=self.metrics,
            )
        finally:  # a topic that does not take an event keeps no round waiting
            self._sweep_rounds()

    def _sweep_rounds(self) -> None:
        rounds = list(_readable(self.store.active("round"), RoundRow))
        begun = {round_.run_id for round_ in rounds if round_.state in {"PENDING", "OPEN"}}
        for round_ in rounds:
            attempt = Attempt(round_.run_id, round_.round, round_.attempt)
            if round_.state != "PENDING":
                self._sweep_updates(attempt, round_, begun=round_.run_id in begun)
            if round_.state == "SEALED" and round_.manifest is not None and round_.reason is None:
                self._sweep_result(attempt, round_)
        self.sightings.end_sweep()

    def _sweep_updates(self, attempt: Attempt, round_: RoundRow, *, begun: bool) -> None:
        """Ask for verdicts, first in batches, then one by one: no update holds up others.

        Args:
            attempt: which.
            round_: its row.
            begun: whether a round of the run has begun that late updates may go on to; for those
                that waited for it, waiting begins anew.
        """
        rows = _readable(self.store.query(*attempt.updates), UpdateRow)
        batch: list[str] = []
        for row in rows:
            times = self._times_due(attempt, row, round_, begun=begun)
            if times == 1:
                batch.append(row.client_id)
            elif times > 1:
                self.jobs.validate(attempt, [row.client_id])
        for start in range(0, len(batch), _BATCH):
            self.jobs.validate(attempt, batch[start : start + _BATCH])

    def _times_due(self, attempt: Attempt, row: UpdateRow, round_: RoundRow, *, begun: bool) -> int:
        """Say how often a verdict was due: a declared update has none to come before its upload."""
        waiting = row.state == "REPORTED" or (row.state == "DECLARED" and round_.state == "OPEN")
        if not waiting:
            return 0
        now = self.clock.monotonic()
        key, mark = (attempt, row.client_id), (row.state, row.sha256, begun)
        times = self.sightings.due(key, mark, now=now, wait=_GRACE_SECONDS)
        if times and row.state == "DECLARED" and self.models.head(row.key) is None:
            return 0
        return times

    def _sweep_result(self, attempt: Attempt, round_: RoundRow) -> None:
        """Ask for the result, of whoever has the claim only when its lease stands still."""
        wait = _GRACE_SECONDS if round_.owner is None else self.lease_seconds
        mark, now = (round_.epoch, round_.lease), self.clock.monotonic()
        if self.sightings.due(attempt, mark, now=now, wait=wait):
            log.warning(
                "result asked for again",
                extra={"run_id": attempt.run_id, "round": attempt.round, "epoch": round_.epoch},
            )
            self.jobs.combine(attempt, take_over=round_.epoch)


def _readable(items: Iterable[Item], kind: type[Row]) -> Iterator[Row]:
    """Read rows; one that cannot be read is logged and must not keep the others waiting."""
    for item in items:
        try:
            yield from_item(item, kind)
        except Invalid:
            log.exception("row skipped", extra={"outcome": "invalid"})
