"""The rows of the table, their keys, and how a row becomes an item and back.

Who may write which row, and in which step, is fixed in ``docs/architecture.md`` ("Rows and steps").
"""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Literal, TypeVar

import msgspec

from rondo_core.errors import Invalid
from rondo_core.events import Scalar
from rondo_core.run_store import Item, Key, Value

__all__ = [
    "CHAMPION",
    "GATES",
    "MODELS_PK",
    "OPERATOR_KEY",
    "RUNS_PK",
    "AliasRow",
    "AssignRow",
    "ClientRow",
    "GateRow",
    "HeadRow",
    "InviteRow",
    "ModelRow",
    "OperatorRow",
    "OutboxRow",
    "RoundRow",
    "RoundState",
    "RunPointerRow",
    "RunRow",
    "RunState",
    "SpecRow",
    "UpdateRow",
    "UpdateState",
    "VersionRow",
    "alias_key",
    "assign_key",
    "client_key",
    "from_item",
    "gate_key",
    "gate_of",
    "head_key",
    "invite_key",
    "model_pk",
    "model_row_key",
    "outbox_key",
    "outbox_pk",
    "round_key",
    "round_prefix",
    "run_key",
    "run_pk",
    "run_pointer_key",
    "spec_row_key",
    "to_item",
    "update_key",
    "version_key",
]

GATES = 16
MODELS_PK = "MODELS"
"""Partition that lists the models."""
RUNS_PK = "RUNS"
"""Partition that lists the runs, ascending by the time they were asked for."""
CHAMPION = "champion"

RunState = Literal["RUNNING", "PAUSED", "FINISHED", "FAILED", "CANCELLED"]
RoundState = Literal["PENDING", "OPEN", "SEALED", "COMMITTED", "ABORTED"]
UpdateState = Literal["DECLARED", "REPORTED", "ACCEPTED", "REJECTED"]
GateState = Literal["OPEN", "SEALED", "CLOSED"]


class _Row(msgspec.Struct, frozen=True, kw_only=True):
    """A field that is None or an empty set is left out of the item."""


class RunRow(_Row, frozen=True, kw_only=True):
    """``RUN#id / META``: what was asked for, and how the run stands."""

    run_id: str
    model: str
    spec: str
    layout: str
    strategy: str
    parameters: dict[str, Scalar] = {}
    training: dict[str, Scalar] = {}
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


class HeadRow(_Row, frozen=True, kw_only=True):
    """``RUN#id / HEAD``: the newest committed version's N."""

    version: int


class RoundRow(_Row, frozen=True, kw_only=True):
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


class GateRow(_Row, frozen=True, kw_only=True):
    """``…#GATE#k``: counts accepted updates of the clients whose hash is k, while it is OPEN."""

    state: GateState
    n: int = 0


class AssignRow(_Row, frozen=True, kw_only=True):
    """``…#ASSIGN#client``: what a chosen client is asked to do."""

    client_id: str
    seed: int
    training: dict[str, Scalar] = {}


class UpdateRow(_Row, frozen=True, kw_only=True):
    """``…#UPD#client``: one client's update, from declaration to verdict."""

    client_id: str
    state: UpdateState
    sha256: str
    size: int
    examples: int
    metrics: dict[str, float] = {}
    """What the client measured on the base version with its own held-out part.

    ``examples`` is that part's size.
    """
    key: str
    object_version: str | None = None
    code: str | None = None
    reason: str | None = None
    declared_at: datetime
    reported_at: datetime | None = None


class VersionRow(_Row, frozen=True, kw_only=True):
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
    metrics: dict[str, float] = {}
    """What the clients measured on the PARENT version, combined by examples (the run's curve)."""
    committed_at: datetime


class SpecRow(_Row, frozen=True, kw_only=True):
    """``MODEL#name / SPEC#sha``: a registered model spec and the objects that belong to it."""

    model: str
    spec: str
    layout: str
    """SHA-256 of the safetensors header of all weights of this spec."""
    header_bytes: int
    """Where the data of a weights file begins (8 + header length)."""
    initial_sha256: str
    initial_size: int
    holdout_sha256: str
    holdout_size: int
    created_at: datetime


class AliasRow(_Row, frozen=True, kw_only=True):
    """``MODEL#name / ALIAS#label``: what inference serves under a label.

    ``active`` lists all aliases.
    """

    model: str
    label: str
    run_id: str
    version: int
    model_version: int
    sha256: str
    """Digest of the version's weights; names its export."""
    export: str
    """Digest of the export's list of files."""
    spec: str
    holdout_sha256: str
    metrics: dict[str, float] = {}
    promoted_at: datetime
    active: Literal["alias"] = "alias"


class InviteRow(_Row, frozen=True, kw_only=True):
    """``MODEL#name / INVITE#hash``: permission to enrol clients for a model.

    The code itself is not stored.
    """

    model: str
    uses_left: int
    expires_at: datetime


class ClientRow(_Row, frozen=True, kw_only=True):
    """``MODEL#name / CLIENT#id``: an enrolled data owner."""

    client_id: str
    model: str
    name: str
    public_key: bytes
    """Ed25519, 32 bytes."""
    enrolled_at: datetime
    last_seen: datetime


class ModelRow(_Row, frozen=True, kw_only=True):
    """``MODELS / name``: a model has a registered spec; written with the spec, by the gateway."""

    model: str


class RunPointerRow(_Row, frozen=True, kw_only=True):
    """``RUNS / time#id``: a run exists; written with its META, by the dispatcher, never changed."""

    run_id: str
    model: str


class OutboxRow(_Row, frozen=True, kw_only=True):
    """``OUTBOX#service / event id``: an event that must still be published."""

    body: str
    """The event as CloudEvents JSON."""


class OperatorRow(_Row, frozen=True, kw_only=True):
    """``OPERATOR / TOKEN``: SHA-256 of the operators' bearer token."""

    token_sha256: str


Row = TypeVar("Row", bound=_Row)

OPERATOR_KEY = Key("OPERATOR", "TOKEN")


def to_item(row: _Row) -> Item:
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


def run_pk(run_id: str) -> str:
    """Partition of everything of a run."""
    return f"RUN#{run_id}"


def model_pk(model: str) -> str:
    """Partition of everything of a model."""
    return f"MODEL#{model}"


def outbox_pk(service: str) -> str:
    """Partition of a service's unpublished events."""
    return f"OUTBOX#{service}"


def run_key(run_id: str) -> Key:
    """Key of the run's META row."""
    return Key(run_pk(run_id), "META")


def head_key(run_id: str) -> Key:
    """Key of the run's HEAD row."""
    return Key(run_pk(run_id), "HEAD")


def version_key(run_id: str, version: int) -> Key:
    """Key of a version's row."""
    return Key(run_pk(run_id), f"VERSION#{version:06d}")


def round_prefix(round_: int, attempt: int) -> str:
    """Sort key of an attempt's ROUND row, and prefix of all rows of the attempt."""
    return f"ROUND#{round_:06d}#{attempt:02d}"


def round_key(run_id: str, round_: int, attempt: int) -> Key:
    """Key of an attempt's ROUND row."""
    return Key(run_pk(run_id), round_prefix(round_, attempt))


def gate_of(client_id: str) -> int:
    """Return which of the ``GATES`` gates counts a client.

    >>> 0 <= gate_of("hospital-a") < GATES
    True
    """
    return int.from_bytes(hashlib.sha256(client_id.encode()).digest(), "big") % GATES


def gate_key(run_id: str, round_: int, attempt: int, gate: int) -> Key:
    """Key of a gate."""
    return Key(run_pk(run_id), f"{round_prefix(round_, attempt)}#GATE#{gate:02d}")


def assign_key(run_id: str, round_: int, attempt: int, client_id: str) -> Key:
    """Key of an assignment."""
    return Key(run_pk(run_id), f"{round_prefix(round_, attempt)}#ASSIGN#{client_id}")


def update_key(run_id: str, round_: int, attempt: int, client_id: str) -> Key:
    """Key of an update."""
    return Key(run_pk(run_id), f"{round_prefix(round_, attempt)}#UPD#{client_id}")


def spec_row_key(model: str, spec: str) -> Key:
    """Key of a registered model spec."""
    return Key(model_pk(model), f"SPEC#{spec}")


def model_row_key(model: str) -> Key:
    """Key of a model's entry in the list of models."""
    return Key(MODELS_PK, model)


def run_pointer_key(run_id: str, requested_at: datetime) -> Key:
    """Key of a run's entry in the list of runs; ``requested_at`` is timezone-aware.

    >>> run_pointer_key("run-1", datetime(2026, 1, 2, tzinfo=UTC)).sk
    '2026-01-02T00:00:00.000000Z#run-1'
    """
    return Key(RUNS_PK, f"{requested_at.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}#{run_id}")


def alias_key(model: str, label: str = CHAMPION) -> Key:
    """Key of an alias."""
    return Key(model_pk(model), f"ALIAS#{label}")


def invite_key(model: str, code: str) -> Key:
    """Key of an invite, by the code that was handed out."""
    return Key(model_pk(model), f"INVITE#{hashlib.sha256(code.encode()).hexdigest()}")


def client_key(model: str, client_id: str) -> Key:
    """Key of an enrolled client."""
    return Key(model_pk(model), f"CLIENT#{client_id}")


def outbox_key(service: str, event_id: str) -> Key:
    """Key of an event that a service still has to publish."""
    return Key(outbox_pk(service), event_id)
