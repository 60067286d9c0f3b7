"""The suite that every ``RunStore`` passes."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace

import pytest

from rondo_core.errors import Invalid
from rondo_core.run_store import (
    MAX_CHANGES,
    Absent,
    AnyOf,
    Change,
    Check,
    CommitConflict,
    Condition,
    Delete,
    Equals,
    Item,
    Key,
    Lacks,
    OneOf,
    Present,
    Put,
    RunStore,
    Update,
    Value,
)
from tests.contract.harness import Harness

WRITERS = 8


@pytest.fixture(scope="module")
def store(ports: Harness) -> RunStore:
    return ports.run_store


@pytest.fixture
def key(name: str) -> Key:
    return Key(name, "ROW")


def fields(item: Item | None) -> dict[str, Value]:
    assert item is not None
    return {name: value for name, value in item.items() if name not in {"PK", "SK"}}


def test_get_of_a_row_that_was_never_written_is_none(store: RunStore, key: Key) -> None:
    assert store.get(key) is None


def test_put_comes_back_with_its_key(store: RunStore, key: Key) -> None:
    store.commit(Put(key, {"state": "OPEN"}))

    assert store.get(key) == {"PK": key.pk, "SK": "ROW", "state": "OPEN"}


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        ("", ""),
        ("naïve – ünïcode \U0001f600", "naïve – ünïcode \U0001f600"),
        (0, 0),
        (-(2**63), -(2**63)),
        (0.1, 0.1),
        (1.7976931348623157e-100, 1.7976931348623157e-100),
        (-2.5e-60, -2.5e-60),
        (1e-300, 0),
        (3.0, 3),
        (True, True),
        (False, False),
        (b"\x00\xff", b"\x00\xff"),
        (frozenset({"b", "a"}), frozenset({"a", "b"})),
        ([], []),
        ({}, {}),
        ([1, "a", [True, {"x": 0.5}]], [1, "a", [True, {"x": 0.5}]]),
        ({"a": {"b": [1, 2]}}, {"a": {"b": [1, 2]}}),
        (("client-1", "client-2"), ["client-1", "client-2"]),
    ],
)
def test_value_comes_back_as_it_was_stored(
    store: RunStore, key: Key, value: Value, stored: Value
) -> None:
    store.commit(Put(key, {"field": value}))

    back = fields(store.get(key))["field"]
    assert (back, type(back)) == (stored, type(stored))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e200, frozenset()])
def test_value_that_cannot_be_stored_is_invalid(store: RunStore, key: Key, value: Value) -> None:
    with pytest.raises(Invalid):
        store.commit(Put(key, {"field": value}))

    assert store.get(key) is None


def test_value_of_another_kind_is_a_type_error(store: RunStore, key: Key) -> None:
    with pytest.raises(TypeError, match="None"):
        store.commit(Put(key, {"field": None}))  # type: ignore[dict-item]  # what is tested


def test_put_replaces_the_whole_row(store: RunStore, key: Key) -> None:
    store.commit(Put(key, {"a": 1, "b": 2}))

    store.commit(Put(key, {"b": 3}))

    assert fields(store.get(key)) == {"b": 3}


def test_put_of_an_item_that_was_read_keeps_the_key_given(store: RunStore, name: str) -> None:
    store.commit(Put(Key(name, "OLD"), {"a": 1}))
    read = store.get(Key(name, "OLD"))
    assert read is not None

    store.commit(Put(Key(name, "NEW"), read))

    assert store.get(Key(name, "NEW")) == {"PK": name, "SK": "NEW", "a": 1}


def test_items_belong_to_the_caller(store: RunStore, key: Key) -> None:
    metrics: dict[str, object] = {"loss": 1}
    store.commit(Put(key, {"metrics": metrics}))

    metrics["loss"] = 2
    read = fields(store.get(key))["metrics"]
    assert isinstance(read, dict)
    read["loss"] = 3

    assert fields(store.get(key)) == {"metrics": {"loss": 1}}


def test_update_assigns_adds_discards_and_removes(store: RunStore, key: Key) -> None:
    store.commit(
        Put(key, {"state": "OPEN", "n": 1, "tokens": frozenset({"a", "b"}), "owner": "w1"})
    )

    store.commit(
        Update(
            key,
            assign={"state": "SEALED", "manifest": "f00"},
            add={"n": 2, "seen": 0.5},
            discard={"tokens": frozenset({"a", "zz"})},
            remove=("owner", "never-there"),
        )
    )

    assert fields(store.get(key)) == {
        "state": "SEALED",
        "manifest": "f00",
        "n": 3,
        "seen": 0.5,
        "tokens": frozenset({"b"}),
    }


def test_update_makes_the_row_if_it_is_not_there(store: RunStore, key: Key) -> None:
    store.commit(Update(key, assign={"a": 1}, add={"n": 2, "tokens": frozenset({"t"})}))

    assert fields(store.get(key)) == {"a": 1, "n": 2, "tokens": frozenset({"t"})}


def test_adding_to_a_set_keeps_what_is_in_it(store: RunStore, key: Key) -> None:
    store.commit(Put(key, {"tokens": frozenset({"a"})}))

    store.commit(Update(key, add={"tokens": frozenset({"a", "b"})}))

    assert fields(store.get(key)) == {"tokens": frozenset({"a", "b"})}


def test_emptied_set_disappears(store: RunStore, key: Key) -> None:
    store.commit(Put(key, {"tokens": frozenset({"a"})}))

    store.commit(Update(key, discard={"tokens": frozenset({"a"})}))

    assert fields(store.get(key)) == {}


def test_adding_a_number_to_a_word_is_invalid_alone_and_in_company(
    store: RunStore, key: Key, name: str
) -> None:
    store.commit(Put(key, {"state": "OPEN"}))

    with pytest.raises(Invalid):
        store.commit(Update(key, add={"state": 1}))
    with pytest.raises(Invalid):
        store.commit(Update(key, add={"state": 1}), Put(Key(name, "OTHER"), {}))

    assert store.get(Key(name, "OTHER")) is None


def test_delete_removes_the_row_and_may_be_repeated(store: RunStore, key: Key) -> None:
    store.commit(Put(key, {"a": 1}))

    store.commit(Delete(key))
    store.commit(Delete(key))

    assert store.get(key) is None


ROW: Item = {"state": "OPEN", "n": 1, "flag": True, "tokens": frozenset({"a"})}


@pytest.mark.parametrize(
    ("condition", "holds_on"),
    [
        (Absent(), {"MISSING"}),
        (Present(), {"THERE"}),
        (Equals("state", "OPEN"), {"THERE"}),
        (Equals("state", "SEALED"), set()),
        (Equals("n", 1), {"THERE"}),
        (Equals("n", 1.0), {"THERE"}),
        (Equals("flag", True), {"THERE"}),
        (Equals("tokens", frozenset({"a"})), {"THERE"}),
        (Equals("missing", "x"), set()),
        (OneOf("state", ("PENDING", "OPEN")), {"THERE"}),
        (OneOf("state", ("SEALED",)), set()),
        (OneOf("missing", ("OPEN",)), set()),
        (Lacks("state"), {"MISSING"}),
        (Lacks("manifest"), {"THERE", "MISSING"}),
        (AnyOf((Absent(), Equals("n", 1))), {"THERE", "MISSING"}),
        (AnyOf((Equals("n", 2), Equals("state", "x"))), set()),
    ],
)
@pytest.mark.parametrize("companions", [0, 1])
def test_condition_lets_a_commit_through_only_when_it_holds(
    store: RunStore, name: str, condition: Condition, holds_on: set[str], companions: int
) -> None:
    store.commit(Put(Key(name, "THERE"), ROW))
    others = [Put(Key(name, f"COMPANY#{n}"), {}) for n in range(companions)]

    went_through = set()
    for suffix in ("THERE", "MISSING"):
        change = Update(Key(name, suffix), assign={"mark": 1}, when=(condition,))
        with suppress(CommitConflict):
            store.commit(change, *others)
            went_through.add(suffix)

    assert went_through == holds_on
    assert {item["SK"] for item in store.query(name) if "mark" in item} == holds_on


def test_all_conditions_of_a_change_must_hold(store: RunStore, key: Key) -> None:
    store.commit(Put(key, {"state": "SEALED", "epoch": 3}))

    with pytest.raises(CommitConflict):
        store.commit(Put(key, {}, (Equals("state", "SEALED"), Equals("epoch", 2))))

    assert fields(store.get(key)) == {"state": "SEALED", "epoch": 3}


@pytest.mark.parametrize(
    "change",
    [
        Put(Key("", ""), {}, (Absent(),)),
        Update(Key("", ""), assign={"a": 2}, when=(Absent(),)),
        Update(Key("", ""), add={"a": 2}, when=(Absent(),)),
        Check(Key("", ""), (Absent(),)),
        Delete(Key("", ""), (Absent(),)),
    ],
)
def test_failed_condition_of_a_single_change_names_its_row(
    store: RunStore, key: Key, change: Change
) -> None:
    store.commit(Put(key, {"a": 1}))

    with pytest.raises(CommitConflict) as caught:
        store.commit(replace(change, key=key))

    assert caught.value.keys == (key,)
    assert fields(store.get(key)) == {"a": 1}


def test_reserved_and_odd_field_names_are_as_good_as_any(store: RunStore, key: Key) -> None:
    odd: Item = {"owner": "w", "name": "n", "a.b": 1, "size-bytes": 2, "#x": 3, ":y": 4}
    store.commit(Put(key, odd))

    store.commit(Update(key, assign={"owner": "v", "a.b": 5}, when=(Equals("size-bytes", 2),)))

    assert fields(store.get(key)) == {**odd, "owner": "v", "a.b": 5}


def test_commit_of_many_applies_all(store: RunStore, name: str) -> None:
    store.commit(Put(Key(name, "A"), {"n": 1}), Put(Key(name, "C"), {"n": 1}))

    store.commit(
        Put(Key(name, "B"), {"n": 2}, (Absent(),)),
        Update(Key(name, "A"), add={"n": 1}, when=(Equals("n", 1),)),
        Delete(Key(name, "C"), (Present(),)),
        Check(Key(name, "D"), (Absent(),)),
    )

    assert store.query(name) == [
        {"PK": name, "SK": "A", "n": 2},
        {"PK": name, "SK": "B", "n": 2},
    ]


def test_one_failed_condition_stops_all_and_every_failed_row_is_named(
    store: RunStore, name: str
) -> None:
    store.commit(Put(Key(name, "A"), {"n": 1}))

    with pytest.raises(CommitConflict) as caught:
        store.commit(
            Put(Key(name, "B"), {}),
            Put(Key(name, "A"), {"n": 9}, (Absent(),)),
            Check(Key(name, "C"), (Present(),)),
        )

    assert caught.value.keys == (Key(name, "A"), Key(name, "C"))
    assert store.query(name) == [{"PK": name, "SK": "A", "n": 1}]


def test_check_alone_changes_nothing_but_fails_like_others(store: RunStore, key: Key) -> None:
    with pytest.raises(CommitConflict):
        store.commit(Check(key, (Present(),)))

    store.commit(Check(key, (Absent(),)))
    assert store.get(key) is None


def test_commit_of_nothing_does_nothing(store: RunStore) -> None:
    store.commit()


def test_commit_of_the_most_changes_is_applied_at_once(store: RunStore, name: str) -> None:
    store.commit(*(Put(Key(name, f"{n:03d}"), {"n": n}) for n in range(MAX_CHANGES)))

    assert [item["n"] for item in store.query(name)] == list(range(MAX_CHANGES))


def test_commit_that_no_store_can_do_is_a_value_error(store: RunStore, name: str) -> None:
    key = Key(name, "A")
    for changes in (
        [Put(Key(name, str(n)), {}) for n in range(MAX_CHANGES + 1)],
        [Put(key, {}), Delete(key)],
        [Check(key, ())],
        [Update(key)],
        [Update(key, assign={"a": 1}, remove=("a",))],
        [Put(key, {}, (AnyOf((OneOf("a", ()),)),))],
    ):
        with pytest.raises(ValueError, match=r"commit|check|update|condition"):
            store.commit(*changes)

    assert store.query(name) == []


def test_query_gives_one_partition_in_order_by_prefix(store: RunStore, name: str) -> None:
    for suffix in ("ROUND#2", "ROUND#10", "ROUND#1#GATE", "ROUND#1", "META"):
        store.commit(Put(Key(name, suffix), {}))
    store.commit(Put(Key(name + "x", "ROUND#1"), {}))

    assert [item["SK"] for item in store.query(name, "ROUND#1")] == [
        "ROUND#1",
        "ROUND#1#GATE",
        "ROUND#10",
    ]
    assert len(store.query(name)) == 5
    assert store.query(name, "VERSION#") == []


def test_query_reads_every_page(store: RunStore, name: str) -> None:
    big = "x" * 300_000
    for number in range(4):  # DynamoDB gives 1 MB a page
        store.commit(Put(Key(name, str(number)), {"text": big}))

    assert [len(str(item["text"])) for item in store.query(name)] == [300_000] * 4


def test_active_lists_rows_by_kind_until_the_field_is_gone(store: RunStore, name: str) -> None:
    for suffix, kind in (("A", "run"), ("B", "round"), ("C", "run")):
        store.commit(Put(Key(name, suffix), {"active": kind, "n": 1}))
    store.commit(Put(Key(name, "D"), {"n": 1}))

    store.commit(Update(Key(name, "C"), remove=("active",)))

    runs = [item for item in store.active("run") if item["PK"] == name]
    assert runs == [{"PK": name, "SK": "A", "active": "run", "n": 1}]


def test_of_writers_at_once_exactly_one_creates_the_row(store: RunStore, key: Key) -> None:
    barrier = threading.Barrier(WRITERS)

    def write(writer: int) -> bool:
        barrier.wait()
        try:
            store.commit(Put(key, {"writer": writer}, (Absent(),)))
        except CommitConflict:
            return False
        return True

    with ThreadPoolExecutor(WRITERS) as pool:
        won = list(pool.map(write, range(WRITERS)))

    assert sum(won) == 1
    assert fields(store.get(key)) == {"writer": won.index(True)}


def test_of_transactions_at_once_exactly_one_moves_the_head(store: RunStore, name: str) -> None:
    head, barrier = Key(name, "HEAD"), threading.Barrier(WRITERS)
    store.commit(Put(head, {"version": 0}))

    def move(writer: int) -> bool:
        barrier.wait()
        try:
            store.commit(
                Update(head, assign={"version": 1}, when=(Equals("version", 0),)),
                Put(Key(name, "VERSION#1"), {"writer": writer}, (Absent(),)),
            )
        except CommitConflict:
            return False
        return True

    with ThreadPoolExecutor(WRITERS) as pool:
        won = list(pool.map(move, range(WRITERS)))

    assert sum(won) == 1
    assert fields(store.get(Key(name, "VERSION#1"))) == {"writer": won.index(True)}


def test_every_acknowledged_transaction_counts_once(store: RunStore, name: str) -> None:
    gate, each = Key(name, "GATE"), 6
    store.commit(Put(gate, {"state": "OPEN", "n": 0}))

    def accept(writer: int) -> int:
        for number in range(each):
            store.commit(
                Update(gate, add={"n": 1}, when=(Equals("state", "OPEN"),)),
                Put(Key(name, f"UPD#{writer}-{number}"), {}, (Absent(),)),
            )
        return each

    with ThreadPoolExecutor(WRITERS) as pool:
        acknowledged = sum(pool.map(accept, range(WRITERS)))

    assert fields(store.get(gate))["n"] == acknowledged == len(store.query(name, "UPD#"))


def test_acknowledged_writes_survive_transactions_that_are_cancelled_beside_them(
    store: RunStore, name: str
) -> None:
    shared, writes = Key(name, "SHARED"), 40
    store.commit(Put(shared, {"n": 0}))
    over = threading.Event()

    def disturb() -> int:
        cancelled = 0
        while not over.is_set() or not cancelled:
            try:
                store.commit(
                    Update(shared, add={"n": 1000}),
                    Put(Key(name, "GHOST"), {}),
                    Check(Key(name, "NEVER"), (Present(),)),
                )
            except CommitConflict:
                cancelled += 1
        return cancelled

    def write(writer: int) -> None:
        for number in range(writes // 4):
            store.commit(Put(Key(name, f"ROW#{writer}-{number}"), {}))
            store.commit(Update(shared, add={"names": frozenset({f"{writer}-{number}"})}))

    with ThreadPoolExecutor(6) as pool:
        disturbers = [pool.submit(disturb) for _ in range(2)]
        try:
            list(pool.map(write, range(4)))
        finally:
            over.set()
        assert all(disturber.result() > 0 for disturber in disturbers)

    assert len(store.query(name, "ROW#")) == writes
    row = fields(store.get(shared))
    assert (row["n"], len(row["names"])) == (0, writes)  # type: ignore[arg-type]  # a set
    assert store.get(Key(name, "GHOST")) is None
