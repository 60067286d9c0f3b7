"""The rows that the others write around a gateway, in short words."""

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from rondo_core.keys import (
    GATES,
    assign_key,
    client_key,
    gate_key,
    head_key,
    invite_key,
    model_row_key,
    round_key,
    run_key,
    run_pointer_key,
    spec_row_key,
    update_key,
    version_key,
)
from rondo_core.model_rows import ClientRow, InviteRow, SpecRow
from rondo_core.model_spec import encode_model_spec, parse_model_spec
from rondo_core.model_store import ModelStore, spec_key
from rondo_core.rows import (
    AssignRow,
    GateRow,
    GateState,
    HeadRow,
    RoundRow,
    RoundState,
    RunPointerRow,
    RunRow,
    UpdateRow,
    VersionRow,
    from_item,
    to_item,
)
from rondo_core.run_store import Key, Put, RunStore, Update
from rondo_core.testing import ManualClock

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
MODEL = "digits"
RUN = "run-1"
SHA = hashlib.sha256(b"an update").hexdigest()
OTHER_SHA = hashlib.sha256(b"another update").hexdigest()

SPEC: dict[str, Any] = {
    "model": MODEL,
    "input": {"kind": "table", "columns": [{"kind": "number", "name": "age"}]},
    "layers": [{"kind": "Dense", "name": "price", "units": 1}],
    "output": {"kind": "number", "name": "price"},
    "loss": "mean_squared_error",
}
SIZE = 512
"""Of every weights file of the runs below."""


@dataclass(frozen=True)
class Client:
    """An enrolled data owner and its key."""

    client_id: str
    model: str = MODEL
    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)

    def claims(self, now: datetime = START) -> dict[str, Any]:
        expires = now + timedelta(seconds=60)
        return {
            "sub": self.client_id,
            "model": self.model,
            "aud": "rondo",
            "iat": int(now.timestamp()),
            "exp": int(expires.timestamp()),
            "jti": "once",
        }

    def headers(self, now: datetime = START, **changes: Any) -> dict[str, str]:
        claims = {
            name: value
            for name, value in {**self.claims(now), **changes}.items()
            if value is not None
        }
        return {"Authorization": f"Bearer {jwt.encode(claims, self.key, algorithm='EdDSA')}"}


class Rows:
    """Reads and writes the table directly.

    Attributes:
        table: the store without what a test does to the gateway's calls.
        objects: the bucket.
    """

    def __init__(self, table: RunStore, objects: ModelStore, clock: ManualClock) -> None:
        self.table = table
        self.objects = objects
        self.clock = clock

    def put(self, key: Key, row: Any) -> None:
        self.table.commit(Put(key, to_item(row)))

    def change(self, key: Key, **fields: Any) -> None:
        self.table.commit(Update(key, assign=fields))

    def row(self, key: Key, kind: type[Any]) -> Any:
        item = self.table.get(key)
        return None if item is None else from_item(item, kind)


class Others(Rows):
    """What clients, operators, dispatcher and aggregator did before the call under test."""

    def enrolled(self, client_id: str = "north-00000001", model: str = MODEL) -> Client:
        client = Client(client_id, model)
        row = ClientRow(
            client_id=client_id,
            model=model,
            name=client_id.rpartition("-")[0],
            public_key=client.key.public_key().public_bytes_raw(),
            enrolled_at=START,
            last_seen=START,
        )
        self.put(client_key(model, client_id), row)
        return client

    def registered(self, model: str = MODEL, *, at: datetime = START, **changes: Any) -> SpecRow:
        spec = parse_model_spec(msgspec.json.encode({**SPEC, "model": model, **changes}))
        row = SpecRow(
            model=model,
            spec=spec.sha256,
            layout="1" * 64,
            header_bytes=100,
            initial_sha256="2" * 64,
            initial_size=SIZE,
            holdout_sha256="3" * 64,
            holdout_size=10,
            created_at=at,
        )
        self.put(spec_row_key(model, spec.sha256), row)
        self.objects.put(spec_key(spec.sha256), encode_model_spec(spec))
        self.table.commit(Put(model_row_key(model), {"model": model}))
        return row

    def invited(self, *, uses: int = 1, seconds: int = 100, model: str = MODEL) -> str:
        code = f"{model}.s3cret"
        expires_at = self.clock.now() + timedelta(seconds=seconds)
        self.put(
            invite_key(model, code), InviteRow(model=model, uses_left=uses, expires_at=expires_at)
        )
        return code

    def begun(self, run_id: str = RUN, model: str = MODEL, **changes: Any) -> RunRow:
        """Write a run with its version 0."""
        fields: dict[str, Any] = {
            "run_id": run_id,
            "model": model,
            "spec": "a" * 64,
            "layout": "b" * 64,
            "strategy": "fedavg",
            "rounds": 3,
            "target": 2,
            "quorum": 1,
            "deadline_seconds": 100,
            "start_deadline_seconds": 100,
            "state": "RUNNING",
            "requested_at": self.clock.now(),
            "active": "run",
        }
        row = RunRow(**(fields | changes))
        self.put(run_key(run_id), row)
        pointer = RunPointerRow(run_id=run_id, model=model)
        self.put(run_pointer_key(run_id, row.requested_at), pointer)
        self.version(0, run_id=run_id)
        return row

    def version(self, number: int, *, run_id: str = RUN, **changes: Any) -> None:
        fields: dict[str, Any] = {
            "run_id": run_id,
            "version": number,
            "sha256": hashlib.sha256(f"{run_id}/{number}".encode()).hexdigest(),
            "layout": "b" * 64,
            "size": SIZE,
            "committed_at": self.clock.now(),
        }
        self.put(version_key(run_id, number), VersionRow(**(fields | changes)))
        self.put(head_key(run_id), HeadRow(version=number))

    def round(
        self,
        *clients: Client,
        state: RoundState = "OPEN",
        number: int = 1,
        attempt: int = 1,
        run_id: str = RUN,
        model: str = MODEL,
        active: bool = True,
        **changes: Any,
    ) -> None:
        """Write an attempt and its assignments."""
        names = tuple(client.client_id for client in clients)
        row = RoundRow(
            run_id=run_id,
            model=model,
            spec="a" * 64,
            layout="b" * 64,
            round=number,
            attempt=attempt,
            state=state,
            base=number - 1,
            base_sha256="c" * 64,
            target=2,
            quorum=1,
            clients=names,
            deadline_at=self.clock.now() + timedelta(seconds=100),
            opened_at=self.clock.now(),
            active="round" if active else None,
        )
        row = msgspec.structs.replace(row, **changes)
        for position, name in enumerate(names):
            assign = AssignRow(client_id=name, seed=7 + position, training={"epochs": 2})
            self.put(assign_key(run_id, number, attempt, name), assign)
        self.put(round_key(run_id, number, attempt), row)
        if state != "PENDING":
            self._gates("OPEN" if state == "OPEN" else "SEALED", run_id, number, attempt)

    def update(self, client: Client, **changes: Any) -> None:
        """Write an update of round 1, as it stands after others have seen it."""
        fields: dict[str, Any] = {
            "client_id": client.client_id,
            "state": "REPORTED",
            "sha256": SHA,
            "size": SIZE,
            "examples": 10,
            "key": "updates/somewhere",
            "declared_at": START,
        }
        key = update_key(RUN, 1, 1, client.client_id)
        self.put(key, UpdateRow(**(fields | changes)))

    def sealed(self, state: RoundState = "SEALED") -> None:
        self.change(round_key(RUN, 1, 1), state=state)
        self._gates("SEALED", RUN, 1, 1)

    def _gates(self, state: GateState, run_id: str, number: int, attempt: int) -> None:
        for gate in range(GATES):
            self.put(gate_key(run_id, number, attempt, gate), GateRow(state=state))
