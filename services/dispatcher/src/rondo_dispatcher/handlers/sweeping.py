"""The sweep: finds what a lost event, a lost answer or a crash left undone."""

import logging
from collections.abc import Callable
from functools import partial

from rondo_core.errors import RondoError
from rondo_core.keys import round_key, run_key
from rondo_core.rows import RoundRow, RunRow, from_item
from rondo_core.run_store import Item
from rondo_dispatcher.domain.attempts import AttemptId
from rondo_dispatcher.domain.runs import first_progress
from rondo_dispatcher.handlers.advancing import advance
from rondo_dispatcher.handlers.ports import Ports, find
from rondo_dispatcher.handlers.saving import publish_left

__all__ = ["Sweep"]

log = logging.getLogger(__name__)

IDLE_SWEEPS = 9
"""After a sweep that found nothing, this many look only for runs: every round belongs to one."""


class Sweep:
    """Called every second; what it does may be done by others at the same time.

    Args:
        ports: what it reads and writes through.
    """

    def __init__(self, ports: Ports) -> None:
        self._ports = ports
        self._idle = 0

    def __call__(self) -> None:
        """Advance every active attempt, start runs that never started, publish what is left.

        One that fails is logged and counted, and does not keep the others from their turn.

        Raises:
            Unavailable: the table or the bus did not answer.
        """
        runs = self._ports.store.active("run")
        if not runs and self._idle > 0:
            self._idle -= 1
            return
        rounds = self._ports.store.active("round")
        self._ports.metrics.gauge("rondo_active_rounds", len(rounds))
        for item in rounds:
            self._attempt(partial(self._advance, item), item)
        begun = {item.get("run_id") for item in rounds}
        for item in runs:
            if item.get("run_id") not in begun:
                self._attempt(partial(self._start_again, item), item)
        left = publish_left(ports=self._ports)
        self._idle = 0 if runs or rounds or left else IDLE_SWEEPS

    def _advance(self, item: Item) -> None:
        row = from_item(item, RoundRow)
        if row.state == "SEALED" and row.manifest is not None and row.reason is None:
            return  # the aggregator's turn
        advance(AttemptId.of(row), ports=self._ports)

    def _start_again(self, item: Item) -> None:
        """A run without any attempt lost its start between its first rows and the state machine."""
        store, run_id = self._ports.store, from_item(item, RunRow).run_id
        run = find(store, run_key(run_id), RunRow)
        if run is None or run.state != "RUNNING":
            return
        if find(store, round_key(run_id, 1, 1), RoundRow) is None:
            self._ports.workflow.start(first_progress(run))

    def _attempt(self, step: Callable[[], None], item: Item) -> None:
        try:
            step()
        except RondoError as exc:
            self._ports.metrics.count("rondo_loop_failures_total", kind="sweep", outcome="retry")
            log.warning(
                "swept row failed",
                extra={
                    "run_id": item.get("run_id"),
                    "round": item.get("round"),
                    "outcome": "retry",
                    "error": str(exc),
                },
            )
