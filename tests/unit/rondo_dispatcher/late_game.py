"""The game of `game.py` in a FedBuff run: updates come when their round is sealed, and go on.

Gateway and aggregator act in two moves, a read and a write, so that anything happens between.
"""

from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st
from hypothesis.stateful import rule
from msgspec import structs

from rondo_core.errors import Conflict
from rondo_core.late_updates import Place, enter, find_place, find_update, refusal
from rondo_core.manifest import decode_manifest
from rondo_core.model_store import manifest_key
from rondo_core.rows import RoundRow, UpdateRow
from tests.unit.rondo_dispatcher import stand_ins
from tests.unit.rondo_dispatcher.game import CLIENTS, Everybody
from tests.unit.rondo_dispatcher.whole_run import Attempt, updates
from tests.unit.rondo_dispatcher.world import RUN

if TYPE_CHECKING:
    from rondo_core.run_store import Change

MOVE = 4
"""Changes of a commit that moves an update: the row here, the row there, the two of the place."""


class Late(Everybody):
    """Clients that need not hurry."""

    rounds = 4

    def __init__(self) -> None:
        super().__init__()
        self.intended: list[list[Change]] = []
        self.moves = 0

    def strategy(self, quorum: int) -> dict[str, Any]:
        return {"strategy": "fedbuff", "parameters": {"buffer_size": quorum, "max_staleness": 1}}

    @rule(clients=st.sets(st.sampled_from(CLIENTS), min_size=1), good=st.integers(0, 4))
    def updates_are_judged(self, clients: set[str], good: int) -> None:
        """Those of open rounds, whatever they were made for; some report just before."""
        for row in self.attempts():
            of = (row.run_id, row.round, row.attempt)
            for client in sorted(clients & set(row.clients)) if row.state == "OPEN" else ():
                with suppress(Conflict):
                    stand_ins.report(self.world.store, of, client, now=self.world.now)
            for update in updates(self.world, of):
                if update.client_id in clients and update.state == "REPORTED":
                    self._judge(of, update, good=bool(good))

    def _judge(self, of: Attempt, update: UpdateRow, *, good: bool) -> None:
        with suppress(Conflict):
            judge = stand_ins.accept if good else stand_ins.reject
            client, digest = update.client_id, update.sha256
            hint = judge(self.world.store, of, client, now=self.world.now, digest=digest)
            self.note([hint])
            self.hints.append(hint)

    @rule()
    def some_report_and_are_not_judged_in_time(self) -> None:
        for row in self.attempts():
            of = (row.run_id, row.round, row.attempt)
            for client in row.clients if row.state == "OPEN" else ():
                with suppress(Conflict):
                    stand_ins.report(self.world.store, of, client, now=self.world.now)

    @rule(client=st.sampled_from(CLIENTS))
    def a_client_comes_late_with_all_that_it_ever_made(self, client: str) -> None:
        for row in self.attempts():
            of = (row.run_id, row.round, row.attempt)
            if client in row.clients and row.state != "OPEN":
                self._intend(stand_ins.reported_row(of, client, now=self.world.now), of)

    @rule()
    def what_is_late_is_rejected(self) -> None:
        """Or entered into the newest round, as the aggregator does it; see the next rule."""
        for row in self.attempts():
            of = (row.run_id, row.round, row.attempt)
            for update in updates(self.world, of) if row.state not in {"OPEN", "PENDING"} else ():
                if update.state == "REPORTED":
                    self._intend(update, of)

    @rule()
    def the_dispatchers_come_to_an_end(self) -> None:
        for actor in self.actors:
            while actor.busy:
                actor.step()
        self.world.deliver()
        self.world.sweep()

    @rule()
    def what_was_read_is_written(self) -> None:
        for changes in self.intended:
            with suppress(Conflict):
                self.world.store.commit(*changes)
                self.moves += len(changes) == MOVE
        self.intended.clear()

    def _intend(self, row: UpdateRow, of: Attempt) -> None:
        store = self.world.store
        found = find_update(RUN, of[1:], row.client_id, store=store)
        place = find_place(RUN, store=store)
        if found.row is not None and found.row.state not in {"DECLARED", "REPORTED"}:
            return
        if isinstance(place, Place) and not refusal(found, place, row.client_id, store=store):
            now = found.row or row
            self.intended.append(enter(structs.replace(now, state="REPORTED"), found, place))
        elif found.row is not None:
            with suppress(Conflict):
                where = (RUN, *found.where)
                client, digest = row.client_id, found.row.sha256
                stand_ins.reject(store, where, client, now=self.world.now, digest=digest)


def check_late_promises(game: Late) -> None:
    """P1 over all rounds: an update is in one place, counts once, and is not too old."""
    rows = [row for of in map(_name, game.attempts()) for row in updates(game.world, of)]
    alive = Counter(row.sha256 for row in rows if row.state != "MOVED")
    assert not alive or max(alive.values()) == 1
    counted = Counter[str]()
    for attempt in game.attempts():
        if attempt.manifest is not None and attempt.state != "ABORTED":
            data = game.world.models.get(manifest_key(attempt.manifest))
            manifest = decode_manifest(data)
            assert all(entry.staleness <= 1 for entry in manifest.updates)
            counted.update(entry.sha256 for entry in manifest.updates)
    assert not counted or max(counted.values()) == 1


def _name(row: RoundRow) -> Attempt:
    return row.run_id, row.round, row.attempt
