"""Shards, metrics and the sweep's memory as values."""

import math
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rondo_aggregator.domain.attempt import Attempt
from rondo_aggregator.domain.metrics import combine_metrics
from rondo_aggregator.domain.result import may_claim
from rondo_aggregator.domain.shards import split
from rondo_aggregator.domain.verdicts import Accepted, accept_changes, in_commits
from rondo_core.keys import GATE_PREFIX, UPDATE_PREFIX, gate_of
from rondo_core.rows import RoundRow, UpdateRow
from rondo_core.run_store import MAX_CHANGES
from rondo_core.sightings import Sightings
from rondo_core.testing import MemoryRunStore

NOW = datetime(2026, 1, 2, tzinfo=UTC)


@given(st.integers(1, 10_000), st.integers(1, 3_000))
def test_shards_cover_every_column_once_and_only_the_last_is_smaller(
    columns: int, width: int
) -> None:
    shards = split(columns, width)

    assert [shard.start for shard in shards] == list(range(0, columns, width))
    assert [shard.stop for shard in shards[:-1]] == [shard.start for shard in shards[1:]]
    assert shards[-1].stop == columns
    assert {shard.stop - shard.start for shard in shards[:-1]} <= {width}


def test_metrics_are_weighted_by_the_held_out_examples() -> None:
    measured = [
        {"examples": 30.0, "accuracy": 0.5, "loss": 2.0},
        {"examples": 10.0, "accuracy": 0.9},
    ]

    assert combine_metrics(measured) == {
        "examples": 40.0,
        "accuracy": pytest.approx(0.6),
        "loss": 2.0,
    }


def test_a_client_that_says_no_examples_does_not_count_in_the_metrics() -> None:
    measured = [{"accuracy": 0.0}, {"examples": -5.0, "accuracy": 0.0}, {"examples": 2.0, "a": 1.0}]

    assert combine_metrics(measured) == {"examples": 2.0, "a": 1.0}


def test_metrics_that_are_not_finite_are_left_out() -> None:
    measured = [
        {"examples": math.inf, "loss": 1.0},
        {"examples": 1.0, "loss": math.nan, "accuracy": 1.0},
    ]

    assert combine_metrics(measured) == {"examples": 1.0, "accuracy": 1.0}


def test_no_measurement_gives_no_metrics() -> None:
    assert combine_metrics([{}, {"accuracy": 1.0}]) == {}


def test_a_sighting_that_moves_is_never_due() -> None:
    sightings = Sightings()

    due = [sightings.due("a", mark, now=float(mark), wait=2.0) for mark in range(10)]

    assert due == [0] * 10


def test_a_sighting_that_stands_still_is_due_ever_less_often() -> None:
    sightings = Sightings(longest_seconds=8.0)

    seconds = [now for now in range(40) if sightings.due("a", "still", now=float(now), wait=2.0)]

    assert seconds == [2, 6, 14, 22, 30, 38]


def test_a_sighting_is_forgotten_when_a_sweep_does_not_see_it() -> None:
    sightings = Sightings()
    sightings.due("a", "still", now=0.0, wait=2.0)
    sightings.end_sweep()
    sightings.end_sweep()

    assert sightings.due("a", "still", now=5.0, wait=2.0) == 0


def test_a_sighting_is_kept_while_every_sweep_sees_it() -> None:
    sightings = Sightings()
    for now in (0.0, 1.0):
        assert sightings.due("a", "still", now=now, wait=2.0) == 0
        sightings.end_sweep()

    assert sightings.due("a", "still", now=2.0, wait=2.0) == 1


def test_a_thousand_updates_are_parted_into_commits_that_the_table_takes() -> None:
    attempt = Attempt("run-1", 1, 1)
    accepted = [Accepted(update(f"client-{index}"), "v1") for index in range(1000)]

    commits = [accept_changes(attempt, group) for group in in_commits(accepted)]

    assert max(len(changes) for changes in commits) <= MAX_CHANGES
    keys = [change.key for changes in commits for change in changes]
    clients = [key for key in keys if key.sk.startswith(UPDATE_PREFIX)]
    assert sorted(clients) == sorted(attempt.update_key(one.row.client_id) for one in accepted)
    assert all(len({change.key for change in changes}) == len(changes) for changes in commits)


def test_each_gate_counts_exactly_the_clients_that_hash_to_it() -> None:
    attempt, names = Attempt("run-1", 1, 1), [f"client-{index}" for index in range(40)]

    changes = accept_changes(attempt, [Accepted(update(name), "v1") for name in names])

    gates = [change for change in changes if change.key.sk.startswith(GATE_PREFIX)]
    counted = {gate.key: gate.add["n"] for gate in gates}  # type: ignore[union-attr]
    for name in names:
        expected = sum(gate_of(other) == gate_of(name) for other in names)
        assert counted[attempt.gate_key(name)] == expected


@pytest.mark.parametrize(
    ("owner", "epoch", "take_over", "expected"),
    [
        (None, 0, None, True),
        ("me", 3, None, True),
        ("other", 3, None, False),
        ("other", 3, 2, False),
        ("other", 3, 3, True),
    ],
)
def test_a_round_may_be_claimed_when_free_mine_or_watched_to_have_expired(
    owner: str | None, epoch: int, take_over: int | None, *, expected: bool
) -> None:
    row = round_row(owner=owner, epoch=epoch)

    assert may_claim(row, owner="me", take_over=take_over) is expected


def test_an_attempts_keys_are_those_of_its_rows() -> None:
    attempt, store = Attempt("run-1", 12, 2), MemoryRunStore()

    assert attempt.key == ("RUN#run-1", "ROUND#000012#02")
    assert attempt.update_key("ada") == ("RUN#run-1#ROUND#000012#02", "UPD#ada")
    assert attempt.updates == ("RUN#run-1#ROUND#000012#02", "UPD#")
    assert store.get(attempt.key) is None


def update(client: str) -> UpdateRow:
    return UpdateRow(
        client_id=client,
        state="REPORTED",
        sha256="0" * 64,
        size=1,
        examples=1,
        key=client,
        declared_at=NOW,
    )


def round_row(*, owner: str | None, epoch: int) -> RoundRow:
    return RoundRow(
        run_id="run-1",
        model="digits",
        spec="5" * 64,
        layout="7" * 64,
        round=1,
        attempt=1,
        state="SEALED",
        base=0,
        base_sha256="0" * 64,
        target=1,
        quorum=1,
        owner=owner,
        epoch=epoch,
    )
