"""One attempt of a round, as one query finds it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple, Self

from rondo_core.keys import UPDATE_PREFIX, attempt_pk, round_key
from rondo_core.rows import GateRow, RoundRow, UpdateRow, from_item
from rondo_core.run_store import Equals, Item, Key

__all__ = ["TERMINAL", "Attempt", "AttemptId", "read_attempt", "unchanged"]

TERMINAL = frozenset({"COMMITTED", "ABORTED"})


class AttemptId(NamedTuple):
    """Which attempt of which round of which run."""

    run_id: str
    round: int
    attempt: int

    @classmethod
    def of(cls, row: RoundRow) -> Self:
        """Return which attempt a row is of."""
        return cls(row.run_id, row.round, row.attempt)

    @property
    def key(self) -> Key:
        """Key of the attempt's ROUND row."""
        return round_key(*self)

    @property
    def children(self) -> tuple[str, str]:
        """Partition, and what the sort keys start with, of the attempt's gates and updates."""
        return attempt_pk(*self), ""

    @property
    def updates(self) -> tuple[str, str]:
        """Partition, and what the sort keys start with, of the attempt's updates."""
        return attempt_pk(*self), UPDATE_PREFIX

    def event_id(self, kind: str) -> str:
        """Return the id of the attempt's one event of a kind."""
        return f"{kind}/{self.run_id}/{self.round}/{self.attempt}"


@dataclass(frozen=True, slots=True)
class Attempt:
    """The ROUND row with its updates, and its gates where these were read.

    Attributes:
        updates: ascending by client id, which is the order of the manifest.
    """

    row: RoundRow
    updates: tuple[UpdateRow, ...]
    gates: tuple[GateRow, ...] = ()

    @property
    def accepted(self) -> tuple[UpdateRow, ...]:
        """The updates that count."""
        return tuple(update for update in self.updates if update.state == "ACCEPTED")

    @property
    def counted(self) -> int:
        """How many updates the gates let through."""
        return sum(gate.n for gate in self.gates)

    @property
    def unjudged(self) -> frozenset[str]:
        """The chosen clients whose updates are neither accepted nor rejected."""
        judged = {one.client_id for one in self.updates if one.state in {"ACCEPTED", "REJECTED"}}
        return frozenset(self.row.clients) - judged

    @property
    def reported(self) -> frozenset[str]:
        """The clients whose updates were reported and are neither accepted nor rejected yet."""
        return frozenset(one.client_id for one in self.updates if one.state == "REPORTED")


def read_attempt(row: RoundRow, items: Iterable[Item]) -> Attempt:
    """Sort the other rows of an attempt by kind.

    Raises:
        Invalid: a row cannot be read; the text names it.
    """
    gates: list[GateRow] = []
    updates: list[UpdateRow] = []
    for item in items:
        match str(item["SK"]).split("#"):
            case ["GATE", _]:
                gates.append(from_item(item, GateRow))
            case ["UPD", _]:
                updates.append(from_item(item, UpdateRow))
    return Attempt(row, tuple(sorted(updates, key=lambda one: one.client_id)), tuple(gates))


def unchanged(row: RoundRow) -> tuple[Equals, Equals]:
    """Return the conditions under which a step may be made that was decided on this row."""
    return Equals("state", row.state), Equals("epoch", row.epoch)
