"""An update goes on from a sealed round to the newest one, and is in one place at any time.

The mutants of ``docs/protocol.md`` are named in the tests that kill them.
"""

from datetime import UTC, datetime
from typing import Any

import pytest
from msgspec import structs

from rondo_core.keys import head_key, round_key, run_key, update_key
from rondo_core.late_updates import Found, Place, enter, find_place, find_update, refusal
from rondo_core.rows import HeadRow, RoundRow, RunRow, UpdateRow, to_item
from rondo_core.run_store import CommitConflict, Put, Update
from rondo_core.testing import MemoryRunStore

AT = datetime(2026, 1, 2, tzinfo=UTC)
RUN, ANN = "run-1", "ann"
MADE = UpdateRow(
    client_id=ANN, state="REPORTED", sha256="a" * 64, size=4, examples=1, key="k", declared_at=AT
)


class Rows:
    """A run of nine rounds, as far as a test says."""

    def __init__(self, *rounds: tuple[int, int, str], head: int, state: str = "RUNNING") -> None:
        self.store = MemoryRunStore()
        run: Any = RunRow(
            run_id=RUN,
            model="digits",
            spec="s",
            layout="l",
            strategy="fedbuff",
            rounds=9,
            target=2,
            quorum=1,
            deadline_seconds=9,
            start_deadline_seconds=9,
            state="RUNNING",
            requested_at=AT,
        )
        self.store.commit(
            Put(run_key(RUN), to_item(structs.replace(run, state=state))),
            Put(head_key(RUN), to_item(HeadRow(version=head))),
        )
        for number, attempt, stands in rounds:
            self.round(number, attempt, stands)

    def round(self, number: int, attempt: int, state: Any, **parameters: int) -> None:
        row = RoundRow(
            run_id=RUN,
            model="digits",
            spec="s",
            layout="l",
            round=number,
            attempt=attempt,
            state=state,
            base=number - 1,
            base_sha256="b" * 64,
            strategy="fedbuff",
            parameters=dict(parameters),
            target=2,
            quorum=1,
        )
        self.store.commit(Put(round_key(RUN, number, attempt), to_item(row)))

    def place(self) -> Place:
        place = find_place(RUN, store=self.store)
        assert isinstance(place, Place)
        return place

    def put(self, number: int, row: UpdateRow = MADE) -> Found:
        self.store.commit(Put(update_key(RUN, number, 1, ANN), to_item(row)))
        return self.found(number)

    def found(self, number: int) -> Found:
        return find_update(RUN, (number, 1), ANN, store=self.store)


@pytest.mark.parametrize(
    ("rounds", "head", "expected"),
    [
        ([(1, 1, "COMMITTED"), (2, 1, "OPEN")], 1, (2, 1)),
        ([(1, 1, "COMMITTED"), (2, 1, "PENDING")], 1, (2, 1)),
        ([(1, 1, "COMMITTED"), (2, 1, "SEALED")], 1, (2, 1)),
        ([(1, 1, "COMMITTED")], 1, (1, 1)),
        ([(1, 1, "ABORTED"), (1, 2, "COMMITTED")], 1, (1, 2)),
        ([(1, 1, "COMMITTED"), (1, 2, "ABORTED")], 1, (1, 1)),
        ([(1, 1, "ABORTED")], 0, (1, 1)),
        ([(1, 1, "ABORTED"), (1, 2, "PENDING")], 0, (1, 2)),
        ([(1, 1, "OPEN"), (1, 2, "PENDING")], 0, (1, 1)),
    ],
)
def test_an_update_belongs_into_the_newest_attempt(
    rounds: list[tuple[int, int, str]], head: int, expected: tuple[int, int]
) -> None:
    assert Rows(*rounds, head=head).place().where == expected


@pytest.mark.parametrize(
    ("state", "head", "why"),
    [
        ("FINISHED", 9, "run run-1 is FINISHED"),
        ("CANCELLED", 1, "run run-1 is CANCELLED"),
        ("RUNNING", 9, "run run-1 has made its last version"),
    ],
)
def test_a_run_that_is_over_has_no_place(state: str, head: int, why: str) -> None:
    rows = Rows((head, 1, "COMMITTED"), head=head, state=state)

    assert find_place(RUN, store=rows.store) == why


def test_a_last_version_that_is_made_between_two_readings_is_no_place() -> None:
    """The head is read first: it was one behind."""
    rows = Rows((9, 1, "ABORTED"), (9, 2, "COMMITTED"), head=8)

    assert find_place(RUN, store=rows.store) == "run run-1 has made its last version"


def test_an_update_is_found_where_it_went_on_to() -> None:
    rows = Rows((1, 1, "COMMITTED"), (2, 1, "OPEN"), head=1)
    found = rows.put(1)

    rows.store.commit(*enter(MADE, found, rows.place()))
    rows.round(2, 1, "COMMITTED")
    rows.store.commit(Put(head_key(RUN), to_item(HeadRow(version=2))))
    rows.round(3, 1, "OPEN")
    rows.store.commit(*enter(MADE, rows.found(1), rows.place()))

    there = rows.found(1)
    assert there.row == structs.replace(MADE, origin=(1, 1), staleness=2)
    assert (there.where, there.origin) == ((3, 1), (1, 1))


def test_where_an_update_is_already_it_is_written_anew_and_keeps_its_origin() -> None:
    rows = Rows((2, 1, "OPEN"), head=1)
    declared = structs.replace(MADE, state="DECLARED", origin=(1, 1), staleness=1)
    found = rows.put(2, declared)

    rows.store.commit(*enter(MADE, found, rows.place()))

    assert rows.found(2).row == structs.replace(MADE, origin=(1, 1), staleness=1)


@pytest.mark.parametrize("bound", [0, 1, 2])
def test_what_is_older_than_the_bound_is_refused_with_both_numbers(bound: int) -> None:
    rows = Rows(head=2)
    rows.round(3, 1, "OPEN", max_staleness=bound)

    rule = refusal(Found((1, 1), None), rows.place(), ANN, store=rows.store)

    assert rule == (
        None
        if bound == 2
        else f"staleness 2 is more than max_staleness {bound}: it was trained on version 0,"
        " and round 3 starts from version 2"
    )


@pytest.mark.parametrize("change", [{"state": "ACCEPTED"}, {"sha256": "c" * 64}])
def test_mutant_state_and_digest_as_read_when_an_update_moves(change: dict[str, str]) -> None:
    """Accepted here meanwhile, it would count in two rounds."""
    rows = Rows((1, 1, "COMMITTED"), (2, 1, "OPEN"), head=1)
    move = enter(MADE, rows.put(1), rows.place())
    rows.store.commit(Update(update_key(RUN, 1, 1, ANN), assign=change))

    with pytest.raises(CommitConflict) as caught:
        rows.store.commit(*move)

    assert caught.value.keys == (update_key(RUN, 1, 1, ANN),)
    assert rows.found(2).row is None


def test_mutant_absent_when_an_update_is_declared_late() -> None:
    rows = Rows((1, 1, "COMMITTED"), (2, 1, "OPEN"), head=1)
    move = enter(MADE, rows.found(1), rows.place())
    rows.put(1, structs.replace(MADE, state="ACCEPTED"))

    with pytest.raises(CommitConflict):
        rows.store.commit(*move)


def test_mutant_absent_where_an_update_goes_on_to() -> None:
    """The client's own update of that round may be counted already."""
    rows = Rows((1, 1, "COMMITTED"), (2, 1, "OPEN"), head=1)
    move = enter(MADE, rows.put(1), rows.place())
    rows.put(2, structs.replace(MADE, sha256="c" * 64, state="ACCEPTED"))

    with pytest.raises(CommitConflict) as caught:
        rows.store.commit(*move)

    assert caught.value.keys == (update_key(RUN, 2, 1, ANN),)


@pytest.mark.parametrize(
    ("newest", "then"),
    [
        ((2, 1, "OPEN"), (2, 1, "SEALED")),
        ((2, 1, "SEALED"), (2, 1, "COMMITTED")),
        ((2, 1, "COMMITTED"), (3, 1, "PENDING")),
        ((2, 1, "ABORTED"), (2, 2, "OPEN")),
    ],
)
def test_mutant_newest_still_an_update_is_not_left_behind(
    newest: tuple[int, int, str], then: tuple[int, int, str]
) -> None:
    rows = Rows(newest, head=2 if newest[2] == "COMMITTED" else 1)
    move = enter(MADE, rows.found(1), rows.place())
    rows.round(*then)

    with pytest.raises(CommitConflict) as caught:
        rows.store.commit(*move)

    assert caught.value.keys == (round_key(RUN, then[0], then[1]),)


def test_mutant_run_goes_on_still() -> None:
    rows = Rows((1, 1, "COMMITTED"), head=1)
    move = enter(MADE, rows.found(1), rows.place())
    rows.store.commit(Update(run_key(RUN), assign={"state": "CANCELLED"}))

    with pytest.raises(CommitConflict) as caught:
        rows.store.commit(*move)

    assert caught.value.keys == (run_key(RUN),)
