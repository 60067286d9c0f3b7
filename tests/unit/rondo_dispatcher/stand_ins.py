"""What the others do to the table, in few lines: the aggregator's T2 and T7, the gateway's rows."""

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from rondo_core.errors import Conflict
from rondo_core.events import (
    UpdateAccepted,
    UpdateRejected,
    VersionCommitted,
    VersionHeld,
    VersionPromoted,
)
from rondo_core.keys import (
    client_key,
    gate_key,
    gate_of,
    head_key,
    round_key,
    spec_row_key,
    update_key,
    version_key,
)
from rondo_core.manifest import decode_manifest
from rondo_core.model_rows import ClientRow, SpecRow
from rondo_core.model_store import ModelStore, holdout_key, manifest_key, spec_key, weights_key
from rondo_core.rows import HeadRow, RoundRow, UpdateRow, VersionRow, from_item, to_item
from rondo_core.run_store import Absent, Equals, Key, OneOf, Put, RunStore, Update

Attempt = tuple[str, int, int]
INITIAL, HOLDOUT = b"initial weights", b"holdout set"
SPEC = "5" * 64
LAYOUT = "7" * 64


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


DOCUMENT: dict[str, Any] = {
    "model": "digits",
    "input": {"kind": "table", "columns": [{"kind": "number", "name": "age"}]},
    "layers": [{"kind": "Dense", "name": "price", "units": 1}],
    "output": {"kind": "number", "name": "price"},
    "loss": "mean_squared_error",
}


def register(
    store: RunStore,
    models: ModelStore,
    *,
    now: datetime,
    spec: str = SPEC,
    optimizer: str = "sgd",
) -> SpecRow:
    """Write a spec's row and objects, under a digest that only looks like one."""
    initial, holdout = hashlib.sha256(INITIAL).hexdigest(), hashlib.sha256(HOLDOUT).hexdigest()
    row = SpecRow(
        model="digits",
        spec=spec,
        layout=LAYOUT,
        header_bytes=8,
        initial_sha256=initial,
        initial_size=len(INITIAL),
        holdout_sha256=holdout,
        holdout_size=len(HOLDOUT),
        created_at=now,
    )
    models.put(weights_key(initial), INITIAL)
    models.put(holdout_key(holdout), HOLDOUT)
    document = {**DOCUMENT, "training": {"optimizer": optimizer}}
    models.put(spec_key(spec), msgspec.json.encode(document))
    store.commit(Put(spec_row_key("digits", spec), to_item(row)))
    return row


def poll(store: RunStore, clients: Sequence[str], *, now: datetime, model: str = "digits") -> None:
    """Enrol clients, or let enrolled ones poll again."""
    for client in clients:
        row = ClientRow(
            client_id=client,
            model=model,
            name=client,
            public_key=b"k" * 32,
            enrolled_at=now,
            last_seen=now,
        )
        store.commit(Put(client_key(model, client), to_item(row)))


def report(store: RunStore, of: Attempt, client: str, *, now: datetime) -> None:
    """Declare, upload and report in one: a REPORTED row."""
    row = reported_row(of, client, now=now)
    store.commit(Put(update_key(*of, client), to_item(row), (Absent(),)))


def reported_row(of: Attempt, client: str, *, now: datetime) -> UpdateRow:
    digest = sha256(f"{of}/{client}")
    return UpdateRow(
        client_id=client,
        state="REPORTED",
        sha256=digest,
        size=4,
        examples=10,
        steps=7.5,
        key=f"updates/{client}/{digest}",
        declared_at=now,
        reported_at=now,
    )


def accept(
    store: RunStore, of: Attempt, client: str, *, now: datetime, digest: str = ""
) -> UpdateAccepted:
    """T2, as the aggregator does it; ``digest`` is of an update that was made for another attempt.

    Raises:
        CommitConflict: the gate is not open, or the update is not REPORTED.
    """
    digest = digest or sha256(f"{of}/{client}")
    store.commit(
        Update(gate_key(*of, gate_of(client)), add={"n": 1}, when=(Equals("state", "OPEN"),)),
        Update(
            update_key(*of, client),
            assign={"state": "ACCEPTED", "object_version": f"version of {client}"},
            when=(Equals("state", "REPORTED"), Equals("sha256", digest)),
        ),
    )
    return UpdateAccepted(
        event_id=f"UpdateAccepted/{'/'.join(map(str, of))}/{client}",
        run_id=of[0],
        occurred_at=now,
        round=of[1],
        attempt=of[2],
        client_id=client,
        sha256=digest,
    )


def reject(
    store: RunStore, of: Attempt, client: str, *, now: datetime, digest: str = ""
) -> UpdateRejected:
    """One conditional write, as the aggregator does it; ``digest`` as for `accept`."""
    digest = digest or sha256(f"{of}/{client}")
    store.commit(
        Update(
            update_key(*of, client),
            assign={"state": "REJECTED", "code": "not-finite", "reason": "NaN"},
            when=(OneOf("state", ("DECLARED", "REPORTED")), Equals("sha256", digest)),
        )
    )
    return UpdateRejected(
        event_id=f"UpdateRejected/{'/'.join(map(str, of))}/{client}",
        run_id=of[0],
        occurred_at=now,
        round=of[1],
        attempt=of[2],
        client_id=client,
        sha256=digest,
        code="not-finite",
        reason="NaN",
    )


def commit_version(
    store: RunStore, models: ModelStore, of: Attempt, *, now: datetime
) -> VersionCommitted:
    """T5 to T7 in one, as the aggregator does it: the version is a pure function of the manifest.

    Raises:
        Conflict: the attempt is not sealed, has no manifest, or another made the version.
    """
    item = store.get(round_key(*of))
    row = None if item is None else from_item(item, RoundRow)
    if row is None or row.state != "SEALED" or row.manifest is None:
        raise Conflict("not sealed with a manifest")
    manifest = decode_manifest(models.get(manifest_key(row.manifest)))
    weights = f"combined {row.manifest}".encode()
    digest = hashlib.sha256(weights).hexdigest()
    models.put(weights_key(digest), weights)
    version = VersionRow(
        run_id=row.run_id,
        version=row.base + 1,
        sha256=digest,
        layout=row.layout,
        size=len(weights),
        parent=row.base,
        manifest=row.manifest,
        updates=len(manifest.updates),
        committed_at=now,
    )
    store.commit(
        Update(
            round_key(*of),
            assign={"state": "COMMITTED", "result": digest},
            when=(Equals("state", "SEALED"), Equals("epoch", row.epoch)),
        ),
        Put(version_key(row.run_id, row.base + 1), to_item(version), (Absent(),)),
        Put(
            head_key(row.run_id),
            to_item(HeadRow(version=row.base + 1)),
            (Equals("version", row.base),),
        ),
    )
    return VersionCommitted(
        event_id=f"VersionCommitted/{'/'.join(map(str, of))}",
        run_id=row.run_id,
        occurred_at=now,
        round=of[1],
        attempt=of[2],
        version=row.base + 1,
        sha256=digest,
    )


def promoted(run_id: str, version: int, *, now: datetime) -> VersionPromoted:
    return VersionPromoted(
        event_id=f"VersionPromoted/{run_id}",
        run_id=run_id,
        occurred_at=now,
        model="digits",
        version=version,
        model_version=4,
        sha256="a" * 64,
    )


def held(run_id: str, version: int, *, now: datetime) -> VersionHeld:
    return VersionHeld(
        event_id=f"VersionHeld/{run_id}",
        run_id=run_id,
        occurred_at=now,
        model="digits",
        version=version,
        reason="accuracy 0.5 is below the champion's 0.9",
    )


def outbox_is_empty(store: RunStore) -> bool:
    return store.query("OUTBOX#dispatcher") == []


def exists(store: RunStore, key: Key) -> bool:
    return store.get(key) is not None
