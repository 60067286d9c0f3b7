from datetime import UTC, datetime
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rondo_core import model_rows, rows
from rondo_core.errors import Invalid
from rondo_core.keys import (
    GATES,
    OPERATOR_KEY,
    alias_key,
    aside_key,
    assign_key,
    attempt_pk,
    client_key,
    gate_key,
    gate_of,
    head_key,
    invite_key,
    model_row_key,
    outbox_key,
    round_key,
    run_key,
    run_pointer_key,
    spec_row_key,
    update_key,
    version_key,
)
from rondo_core.model_rows import AliasRow, ClientRow, InviteRow, ModelRow, OperatorRow, SpecRow
from rondo_core.rows import (
    AssignRow,
    GateRow,
    HeadRow,
    OutboxRow,
    RoundRow,
    RunPointerRow,
    RunRow,
    SetAsideRow,
    UpdateRow,
    VersionRow,
    from_item,
    to_item,
)
from rondo_core.run_store import Key, Put
from rondo_core.testing import MemoryRunStore

AT = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
SHA256 = "0a" * 32
KINDS = [
    AliasRow,
    AssignRow,
    ClientRow,
    GateRow,
    HeadRow,
    InviteRow,
    ModelRow,
    OperatorRow,
    OutboxRow,
    RoundRow,
    RunPointerRow,
    RunRow,
    SetAsideRow,
    SpecRow,
    UpdateRow,
    VersionRow,
]


def sample(kind: Any) -> Any:
    """A value of a field's type that is not its default."""
    if options := get_args(kind):
        if isinstance(options[0], str):  # a Literal
            return options[0]
        known: dict[Any, Any] = {
            dict: lambda: {"k": sample(options[1])},
            tuple: lambda: (sample(options[0]), sample(options[0])),
            frozenset: lambda: frozenset({"t"}),
        }
        origin = getattr(kind, "__origin__", None)
        return known[origin]() if origin in known else sample(options[0])
    return {str: "text", bool: True, int: 7, float: 0.5, bytes: b"\x00\xff", datetime: AT}[kind]


def full(kind: Any) -> Any:
    """A row of a kind with every field set."""
    hints = msgspec.inspect.type_info(kind)
    assert isinstance(hints, msgspec.inspect.StructType)
    types = {field.name: field.type for field in msgspec.structs.fields(kind)}
    return kind(**{name: sample(one) for name, one in types.items()})


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_row_comes_back_from_the_table_as_it_was_written(kind: Any) -> None:
    store, key, row = MemoryRunStore(), Key("pk", "sk"), full(kind)
    store.commit(Put(key, to_item(row)))

    item = store.get(key)

    assert item is not None
    assert from_item(item, kind) == row


def test_each_kind_of_row_is_tried_here() -> None:
    declared = {name for name in rows.__all__ + model_rows.__all__ if name.endswith("Row")}

    assert {kind.__name__ for kind in KINDS} == declared - {"AnyRow"}


def test_what_is_none_or_an_empty_set_is_left_out() -> None:
    row = RoundRow(
        run_id="r",
        model="m",
        spec=SHA256,
        layout=SHA256,
        round=1,
        attempt=1,
        state="PENDING",
        base=0,
        base_sha256=SHA256,
        target=2,
        quorum=1,
    )

    item = to_item(row)

    assert not {"reason", "owner", "manifest", "task_tokens", "deadline_at", "active"} & set(item)
    assert from_item(item, RoundRow) == row


def test_times_are_text_with_a_zone() -> None:
    item = to_item(InviteRow(model="m", uses_left=1, expires_at=AT))

    assert item["expires_at"] == "2026-01-02T03:04:05.678901Z"


def test_whole_float_that_came_back_as_an_int_is_a_float_again() -> None:
    item = to_item(
        UpdateRow(
            client_id="c",
            state="ACCEPTED",
            sha256=SHA256,
            size=1,
            examples=1,
            metrics={"loss": 1.0},
            key="k",
            declared_at=AT,
        )
    )
    store = MemoryRunStore()
    store.commit(Put(Key("a", "b"), item))
    read = store.get(Key("a", "b"))
    assert read is not None

    metrics = from_item(read, UpdateRow).metrics

    assert metrics == {"loss": 1.0}
    assert isinstance(metrics["loss"], float)


def test_field_of_a_newer_release_is_skipped() -> None:
    assert from_item({"version": 3, "colour": "blue"}, HeadRow) == HeadRow(version=3)


@pytest.mark.parametrize(
    ("item", "complaint"),
    [
        ({}, "'RUN#r' 'HEAD' is not a HeadRow.*version"),
        ({"version": "3"}, "version"),
        ({"version": 3.5}, "version"),
    ],
)
def test_item_that_is_not_the_row_is_invalid(item: dict[str, Any], complaint: str) -> None:
    with pytest.raises(Invalid, match=complaint):
        from_item({"PK": "RUN#r", "SK": "HEAD"} | item, HeadRow)


def test_item_with_an_unknown_state_is_invalid() -> None:
    with pytest.raises(Invalid, match="state"):
        from_item({"state": "AJAR", "n": 0}, GateRow)


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (run_key("r"), ("RUN#r", "META")),
        (head_key("r"), ("RUN#r", "HEAD")),
        (version_key("r", 12), ("RUN#r", "VERSION#000012")),
        (round_key("r", 3, 1), ("RUN#r", "ROUND#000003#01")),
        (gate_key("r", 3, 1, 9), ("RUN#r#ROUND#000003#01", "GATE#09")),
        (assign_key("r", 3, 1, "c"), ("RUN#r#ROUND#000003#01", "ASSIGN#c")),
        (update_key("r", 3, 1, "c"), ("RUN#r#ROUND#000003#01", "UPD#c")),
        (spec_row_key("m", "f00"), ("MODEL#m", "SPEC#f00")),
        (alias_key("m"), ("MODEL#m", "ALIAS#champion")),
        (alias_key("m", "candidate"), ("MODEL#m", "ALIAS#candidate")),
        (client_key("m", "c"), ("MODEL#m", "CLIENT#c")),
        (outbox_key("dispatcher", "e/1"), ("OUTBOX#dispatcher", "e/1")),
        (aside_key("dispatcher", "e/1"), ("ASIDE#dispatcher", "e/1")),
        (OPERATOR_KEY, ("OPERATOR", "TOKEN")),
    ],
)
def test_key_is_as_the_protocol_says(key: Key, expected: tuple[str, str]) -> None:
    assert key == expected


def test_invite_is_kept_by_the_hash_of_its_code() -> None:
    key = invite_key("m", "m.secret")

    assert key.pk == "MODEL#m"
    assert key.sk.startswith("INVITE#")
    assert "secret" not in key.sk
    assert key != invite_key("m", "m.other")


def test_model_and_run_are_listed_under_keys_of_their_own() -> None:
    older, newer = datetime(2025, 12, 31, tzinfo=UTC), AT

    assert model_row_key("a") != model_row_key("b")
    assert model_row_key("a").pk == model_row_key("b").pk
    assert run_pointer_key("r", older).pk == run_pointer_key("q", newer).pk
    assert run_pointer_key("r", older) != run_pointer_key("q", older)


@given(st.integers(1, 10_000), st.integers(1, 10_000), st.integers(1, 2), st.integers(1, 2))
def test_rounds_sort_by_number_and_share_no_partition(
    one: int, two: int, attempt: int, other: int
) -> None:
    first, second = round_key("r", one, attempt), round_key("r", two, other)

    assert (first < second) == ((one, attempt) < (two, other))
    assert (attempt_pk("r", one, attempt) == attempt_pk("r", two, other)) == (first == second)


@given(st.text(max_size=64))
def test_gate_is_one_of_sixteen_and_always_the_same(client: str) -> None:
    assert 0 <= gate_of(client) < GATES
    assert gate_of(client) == gate_of(client)


def test_gate_does_not_depend_on_the_process() -> None:
    # The last hex digit of `printf hospital-a | sha256sum`: never Python's own hash().
    assert [gate_of(client) for client in ("hospital-a", "hospital-b")] == [9, 3]
