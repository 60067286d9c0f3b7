"""FedBuff's late updates: one whose round is sealed is entered into the newest round of its run.

Its row moves: in one commit the old row becomes MOVED, which names where it goes on, and a row is
made there. So there is one row at most that can still be accepted, and whoever knows the attempt
that the update was made for finds it. A row moves only while it is neither accepted nor rejected,
on the state and the digest that were read: what counts somewhere counts nowhere else.

While no round is open an update waits in the run's newest attempt; the aggregator takes it on.

Source: Nguyen et al., 2022, Algorithm 1 (FedBuff, arXiv:2106.06639).
"""

from dataclasses import dataclass

from msgspec import structs

from rondo_core.keys import attempts_of, head_key, round_key, run_key, update_key
from rondo_core.rows import HeadRow, RoundRow, RunRow, UpdateRow, from_item, to_item
from rondo_core.run_store import Absent, Change, Check, Condition, Equals, OneOf, Put, RunStore
from rondo_core.strategies import buffering

__all__ = [
    "Found",
    "Place",
    "Where",
    "enter",
    "find_place",
    "find_update",
    "refusal",
    "takes_late",
]

_GOES_ON = ("RUNNING", "PAUSED")
Where = tuple[int, int]
"""Round and attempt."""


@dataclass(frozen=True, slots=True)
class Found:
    """Where a client's update is.

    Attributes:
        where: the attempt that has its row, or would have it.
        row: as it was read; None where the client has declared nothing yet.
    """

    where: Where
    row: UpdateRow | None

    @property
    def origin(self) -> Where:
        """The attempt that the update was made for."""
        return self.where if self.row is None or self.row.origin is None else self.row.origin


@dataclass(frozen=True, slots=True)
class Place:
    """The newest attempt of a run that goes on: where a late update belongs now.

    Attributes:
        row: the attempt, in any state.
        still: fail when the run is over or has a newer attempt by now.
    """

    row: RoundRow
    still: tuple[Check, Check]

    @property
    def where(self) -> Where:
        """Round and attempt."""
        return self.row.round, self.row.attempt


def takes_late(round_: RoundRow) -> bool:
    """Tell whether an update of this attempt may be entered into a later one."""
    return buffering(round_.strategy, round_.parameters) is not None


def find_update(run_id: str, where: Where, client_id: str, *, store: RunStore) -> Found:
    """Return where the update that was made for an attempt is now.

    Raises:
        Unavailable: the table did not answer.
    """
    while True:
        item = store.get(update_key(run_id, *where, client_id))
        row = None if item is None else from_item(item, UpdateRow)
        if row is None or row.entered is None:
            return Found(where, row)
        where = row.entered


def find_place(run_id: str, *, store: RunStore) -> Place | str:
    """Return where late updates of a run belong, or why it takes none any more.

    Raises:
        Unavailable: the table did not answer.
    """
    run = from_item(store.get(run_key(run_id)) or {}, RunRow)
    if run.state not in _GOES_ON:
        return f"run {run_id} is {run.state}"
    head = from_item(store.get(head_key(run_id)) or {}, HeadRow).version
    newest = _newest(_attempts(run_id, head + 1, store) or _attempts(run_id, head, store))
    if newest.state == "COMMITTED" and newest.round >= run.rounds:
        return f"run {run_id} has made its last version"
    goes_on = Check(run_key(run_id), (OneOf("state", _GOES_ON),))
    return Place(newest, (goes_on, _still_newest(newest)))


def refusal(found: Found, place: Place, client_id: str, *, store: RunStore) -> str | None:
    """Return why a place does not take a client's update; None when it does.

    Raises:
        Unavailable: the table did not answer.
    """
    if (too_old := _too_old(found, place)) is not None:
        return too_old
    if found.where == place.where:
        return None
    taken = store.get(update_key(place.row.run_id, *place.where, client_id)) is not None
    return f"round {place.row.round} has another update of {client_id}" if taken else None


def enter(row: UpdateRow, found: Found, place: Place) -> list[Change]:
    """Return the commit that brings an update to a place; where it is there, it is written anew.

    Args:
        row: DECLARED or REPORTED, as it shall be.
        found: as it is: absent, DECLARED or REPORTED.
        place: where it shall be.
    """
    before, key = found.row, update_key(place.row.run_id, *found.where, row.client_id)
    as_read: tuple[Condition, ...] = (Absent(),)
    if before is not None:
        as_read = (Equals("state", before.state), Equals("sha256", before.sha256))
    if found.where == place.where:
        late = before is not None and before.origin is not None
        there = _entry(row, found, place) if late else row
        return [Put(key, to_item(there), as_read), *place.still]
    moved = structs.replace(before or row, state="MOVED", entered=place.where)
    new_key = update_key(place.row.run_id, *place.where, row.client_id)
    return [
        Put(key, to_item(moved), as_read),
        Put(new_key, to_item(_entry(row, found, place)), (Absent(),)),
        *place.still,
    ]


def _entry(row: UpdateRow, found: Found, place: Place) -> UpdateRow:
    return structs.replace(row, origin=found.origin, staleness=_staleness(found, place))


def _too_old(found: Found, place: Place) -> str | None:
    """Name both numbers where an update is too old."""
    buffer = buffering(place.row.strategy, place.row.parameters)
    age = _staleness(found, place)
    if buffer is None or buffer.max_staleness is None or age <= buffer.max_staleness:
        return None
    base = place.row.base
    return (
        f"staleness {age} is more than max_staleness {buffer.max_staleness}: it was trained on"
        f" version {base - age}, and round {place.row.round} starts from version {base}"
    )


def _staleness(found: Found, place: Place) -> int:
    """Round r is trained on version r - 1."""
    return place.row.round - found.origin[0]


def _attempts(run_id: str, round_: int, store: RunStore) -> list[RoundRow]:
    """Read the attempts of a round, oldest first."""
    return [from_item(item, RoundRow) for item in store.query(*attempts_of(run_id, round_))]


def _newest(attempts: list[RoundRow]) -> RoundRow:
    """Only one attempt of a round is ever open: a later one waits for the end of the first."""
    not_given_up = [one for one in attempts if one.state != "ABORTED"]
    return not_given_up[0] if not_given_up else attempts[-1]


def _still_newest(row: RoundRow) -> Check:
    """An attempt that is over stays so: only a later one can take its place."""
    if row.state == "COMMITTED":
        return Check(round_key(row.run_id, row.round + 1, 1), (Absent(),))
    if row.state == "ABORTED":
        return Check(round_key(row.run_id, row.round, row.attempt + 1), (Absent(),))
    return Check(round_key(row.run_id, row.round, row.attempt), (Equals("state", row.state),))
