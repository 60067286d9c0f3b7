"""The rows of the table, and how a row becomes an item and back; `rondo_core.keys` has their keys.

Who may write which row, and in which step, is fixed in ``docs/architecture.md`` ("Rows and steps").
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Literal, TypeVar

import msgspec

from rondo_core.errors import Invalid
from rondo_core.events import Scalar
from rondo_core.run_store import Item, Value

__all__ = [
    "AnyRow",
    "AssignRow",
    "GateRow",
    "GateState",
    "HeadRow",
    "OutboxRow",
    "RoundRow",
    "RoundState",
    "RunPointerRow",
    "RunRow",
    "RunState",
    "SetAsideRow",
    "UpdateRow",
    "UpdateState",
    "VersionRow",
    "from_item",
    "to_item",
]

RunState = Literal["RUNNING", "PAUSED", "FINISHED", "FAILED", "CANCELLED"]
RoundState = Literal["PENDING", "OPEN", "SEALED", "COMMITTED", "ABORTED"]
UpdateState = Literal["DECLARED", "REPORTED", "ACCEPTED", "REJECTED", "MOVED"]
GateState = Literal["OPEN", "SEALED", "CLOSED"]


class AnyRow(msgspec.Struct, frozen=True, kw_only=True):
    """What all rows are; a field that is None or an empty set is left out of the item."""


class RunRow(AnyRow, frozen=True, kw_only=True):
    """``RUN#id / META``: what was asked for, and how the run stands."""

    run_id: str
    model: str
    spec: str
    layout: str
    strategy: str
    parameters: dict[str, Scalar] = {}
    training: dict[str, Scalar] = {}
    encoding: str = "float32"
    rounds: int
    target: int
    quorum: int
    deadline_seconds: float
    start_deadline_seconds: float
    state: RunState
    reason: str | None = None
    requested_at: datetime
    finished_at: datetime | None = None
    active: Literal["run"] | None = None


class HeadRow(AnyRow, frozen=True, kw_only=True):
    """``RUN#id / HEAD``: the newest committed version's N."""

    version: int


class RoundRow(AnyRow, frozen=True, kw_only=True):
    """``RUN#id / ROUND#r#a``: one attempt of a round.

    ``active`` is there until nothing is left to do for it.
    """

    run_id: str
    model: str
    spec: str
    layout: str
    round: int
    attempt: int
    state: RoundState
    reason: str | None = None
    base: int
    """N of the base version; the round makes N + 1."""
    base_sha256: str
    strategy: str = "fedavg"
    parameters: dict[str, Scalar] = {}
    encoding: str = "float32"
    optimizer_state: str | None = None
    """Digest of the server optimizer's state that belongs to the base version."""
    target: int
    quorum: int
    epoch: int = 0
    owner: str | None = None
    lease: int = 0
    """A counter that the owner moves while it works.

    Unchanged for the lease time means that the owner is gone.
    """
    clients: tuple[str, ...] = ()
    at_work: dict[str, datetime] = {}
    """Clients that were still at work for an earlier attempt when this one opened (FedBuff).

    They are among ``clients``; the time is until when each is waited for.
    """
    manifest: str | None = None
    updates: int | None = None
    """How many updates the manifest holds."""
    result: str | None = None
    """SHA-256 of the version that the round made."""
    start_deadline_at: datetime | None = None
    deadline_at: datetime | None = None
    opened_at: datetime | None = None
    sealed_at: datetime | None = None
    ended_at: datetime | None = None
    task_tokens: frozenset[str] = frozenset()
    active: Literal["round"] | None = None


class GateRow(AnyRow, frozen=True, kw_only=True):
    """``RUN#id#ROUND#r#a / GATE#k``: while OPEN, counts accepted updates of clients with hash k."""

    state: GateState
    n: int = 0


class AssignRow(AnyRow, frozen=True, kw_only=True):
    """``RUN#id#ROUND#r#a / ASSIGN#client``: what a chosen client is asked to do."""

    client_id: str
    seed: int
    training: dict[str, Scalar] = {}


class UpdateRow(AnyRow, frozen=True, kw_only=True):
    """``RUN#id#ROUND#r#a / UPD#client``: one client's update, from declaration to verdict.

    ``origin``, ``staleness`` and ``entered`` are of late updates: `rondo_core.late_updates`.
    """

    client_id: str
    state: UpdateState
    sha256: str
    size: int
    examples: int
    metrics: dict[str, float] = {}
    """What the client measured on the base version with its own held-out part.

    ``examples`` is that part's size.
    """
    steps: float | None = None
    """How many plain steps the local training was worth, where the client said so."""
    key: str
    object_version: str | None = None
    code: str | None = None
    reason: str | None = None
    declared_at: datetime
    reported_at: datetime | None = None
    origin: tuple[int, int] | None = None
    """Round and attempt that it was made for, where that is not this one."""
    staleness: int = 0
    """Versions between the base that it was trained on and this round's."""
    entered: tuple[int, int] | None = None
    """MOVED: round and attempt whose row tells how it goes on."""


class VersionRow(AnyRow, frozen=True, kw_only=True):
    """``RUN#id / VERSION#N``: an immutable global model."""

    run_id: str
    version: int
    sha256: str
    layout: str
    size: int
    parent: int | None = None
    manifest: str | None = None
    updates: int = 0
    examples: int = 0
    optimizer_state: str | None = None
    control: str | None = None
    """SHA-256 of the control variate's file, the one part of the state that clients are given."""
    metrics: dict[str, float] = {}
    """What the clients measured on the PARENT version, combined by examples (the run's curve)."""
    committed_at: datetime


class RunPointerRow(AnyRow, frozen=True, kw_only=True):
    """``RUNS / time#id``: a run exists; written with its META, by the dispatcher, never changed."""

    run_id: str
    model: str


class OutboxRow(AnyRow, frozen=True, kw_only=True):
    """``OUTBOX#service / event id``: an event that must still be published."""

    body: str
    """The event as CloudEvents JSON."""


class SetAsideRow(OutboxRow, frozen=True, kw_only=True):
    """``ASIDE#service / event id``: an event that the topic refused, until a person looks at it."""

    reason: str
    set_aside_at: datetime


Row = TypeVar("Row", bound=AnyRow)


def to_item(row: AnyRow) -> Item:
    """Return the row's fields as an item; what is None or empty is left out, times are RFC 3339.

    >>> to_item(GateRow(state="OPEN"))
    {'state': 'OPEN', 'n': 0}
    """
    item: dict[str, Value] = {}
    for name in row.__struct_fields__:
        value = getattr(row, name)
        if value is None or value == frozenset():
            continue
        item[name] = value if isinstance(value, frozenset | bytes) else msgspec.to_builtins(value)
    return item


def from_item(item: Mapping[str, Value], kind: type[Row]) -> Row:
    """Read an item as a row of the given kind; fields that the kind does not know are skipped.

    Raises:
        Invalid: a field is missing or has the wrong type; the text names it.

    >>> from_item({"PK": "RUN#a", "SK": "HEAD", "version": 3}, HeadRow)
    HeadRow(version=3)
    """
    try:
        return msgspec.convert(item, type=kind)
    except msgspec.ValidationError as exc:
        raise Invalid(
            f"row {item.get('PK')!r} {item.get('SK')!r} is not a {kind.__name__}: {exc}"
        ) from exc
