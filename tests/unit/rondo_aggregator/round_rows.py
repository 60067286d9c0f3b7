"""What gateway, clients and dispatcher do to the rows and objects of a round, and what is there."""

import hashlib
from collections import defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from rondo_aggregator.domain.attempt import Attempt
from rondo_core.encodings import encode as encode_update
from rondo_core.encodings.names import FLOAT32
from rondo_core.errors import Unavailable
from rondo_core.events import Scalar
from rondo_core.keys import GATE_PREFIX, GATES, gate_key, head_key, version_key
from rondo_core.layout import Float32Array, Layout, TensorSpec
from rondo_core.manifest import Manifest, ManifestEntry, encode_manifest
from rondo_core.model_store import ModelStore, manifest_key, update_key, weights_key
from rondo_core.rows import GateRow, HeadRow, RoundRow, UpdateRow, VersionRow, from_item, to_item
from rondo_core.run_store import (
    Change,
    CommitConflict,
    Equals,
    Item,
    Put,
    RunStore,
    Update,
    Value,
)
from rondo_core.testing import ManualClock, MemoryModelStore, MemoryRunStore
from rondo_core.weights import decode, encode

if TYPE_CHECKING:
    from collections.abc import Callable
from typing import Generic, TypeVar

LAYOUT = Layout((TensorSpec("dense/kernel", (2, 2)), TensorSpec("dense/bias", (3,))))
CLIENTS = ("ada", "bob", "cyd")
ATTEMPT = Attempt("run-1", 1, 1)


class WatchedRunStore(MemoryRunStore):
    """Lets something happen just before a commit, and loses answers.

    Attributes:
        before: called once, before the next commit.
        lost: so many commits are made, but not answered.
        refused: so many commits are neither made nor answered.
        busy: so many commits meet others that are in the way.
        commits: what was asked for, in order.
        queries: how many there were.
    """

    def __init__(self) -> None:
        super().__init__()
        self.before: Callable[[], None] | None = None
        self.lost = 0
        self.refused = 0
        self.busy = 0
        self.commits: list[tuple[Change, ...]] = []
        self.queries = 0

    def commit(self, *changes: Change) -> None:
        before, self.before = self.before, None
        if before is not None:
            before()
        self.commits.append(changes)
        if self.refused:
            self.refused -= 1
            raise Unavailable("no answer")
        if self.busy:
            self.busy -= 1
            raise CommitConflict([change.key for change in changes])
        super().commit(*changes)
        if self.lost:
            self.lost -= 1
            raise Unavailable("no answer")

    def query(self, pk: str, prefix: str = "") -> list[Item]:
        self.queries += 1
        return super().query(pk, prefix)


class CountingModelStore(MemoryModelStore):
    """Counts the reads of each object, and their bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.reads: list[str] = []
        self.fetched: defaultdict[str, list[int]] = defaultdict(list)

    def get(
        self, key: str, *, start: int = 0, stop: int | None = None, version: str | None = None
    ) -> bytes:
        self.reads.append(key)
        data = super().get(key, start=start, stop=stop, version=version)
        self.fetched[key].append(len(data))
        return data


def abort(store: MemoryRunStore, *, epoch: int) -> None:
    """Do T9, as the dispatcher does it."""
    store.commit(Update(ATTEMPT.key, assign={"state": "ABORTED", "epoch": epoch}))


Store = TypeVar("Store", bound=RunStore)
Models = TypeVar("Models", bound=ModelStore)


class RoundRows(Generic[Store, Models]):
    """One round of three clients, without anybody who works on it; in memory or in a cloud."""

    def __init__(self, store: Store, models: Models, layout: Layout = LAYOUT) -> None:
        self.layout = layout
        self.store = store
        self.models = models
        self.clock = ManualClock()
        self.encoding = FLOAT32
        self.base = np.zeros(layout.size, np.float32)

    def open_round(self, attempt: Attempt = ATTEMPT, *, base: Float32Array | None = None) -> None:
        """Do what the dispatcher does until the round is open."""
        if base is not None:
            self.base = base
        data = encode(self.layout, self.base)
        digest = hashlib.sha256(data).hexdigest()
        self.models.put(weights_key(digest), data)
        version = VersionRow(
            run_id=attempt.run_id,
            version=0,
            sha256=digest,
            layout=self.layout.digest,
            size=len(data),
            committed_at=self.clock.now(),
        )
        round_ = RoundRow(
            run_id=attempt.run_id,
            model="digits",
            spec="5" * 64,
            layout=self.layout.digest,
            round=attempt.round,
            attempt=attempt.attempt,
            state="OPEN",
            base=0,
            base_sha256=digest,
            target=len(CLIENTS),
            quorum=1,
            clients=CLIENTS,
            encoding=self.encoding,
            active="round",
        )
        self.store.commit(
            Put(version_key(attempt.run_id, 0), to_item(version)),
            Put(head_key(attempt.run_id), to_item(HeadRow(version=0))),
            Put(attempt.key, to_item(round_)),
            *(
                Put(gate_key(attempt.run_id, attempt.round, attempt.attempt, gate), to_item(row))
                for gate, row in enumerate([GateRow(state="OPEN")] * GATES)
            ),
        )

    def submit(
        self,
        client: str,
        delta: Float32Array | None = None,
        *,
        data: bytes | None = None,
        upload: bool = True,
        **fields: Value,
    ) -> UpdateRow:
        """Do what client and gateway do until the update is reported; ``fields`` are lies."""
        if delta is None:
            delta = np.arange(self.layout.size, dtype=np.float32) * (1 + len(self.updates()))
        rng = np.random.default_rng(len(self.updates()))
        content = encode_update(self.layout, delta, self.encoding, rng) if data is None else data
        digest = str(fields.get("sha256", hashlib.sha256(content).hexdigest()))
        key = update_key("run-1", 1, 1, client, digest)
        declared: dict[str, Value] = {
            "client_id": client,
            "state": "REPORTED",
            "sha256": digest,
            "size": len(content),
            "examples": 10,
            "metrics": {},
            "key": key,
            "declared_at": self.clock.now().isoformat(),
        }
        if upload:
            self.models.put(key, content)
        update = from_item({**declared, **fields}, UpdateRow)
        self.store.commit(Put(ATTEMPT.update_key(client), to_item(update)))
        return update

    def seal(self) -> None:
        """Do T3, as the dispatcher does it."""
        self.store.commit(
            Update(ATTEMPT.key, assign={"state": "SEALED"}, when=(Equals("state", "OPEN"),)),
            *(
                Update(gate_key("run-1", 1, 1, gate), assign={"state": "SEALED"})
                for gate in range(GATES)
            ),
        )

    def write_manifest(
        self,
        strategy: str = "fedavg",
        parameters: Mapping[str, Scalar] | None = None,
        optimizer_state: str | None = None,
    ) -> Manifest:
        """Do T4, as the dispatcher does it."""
        accepted = [row for row in self.updates().values() if row.state == "ACCEPTED"]
        assert len(accepted) == self.counted()
        manifest = Manifest(
            run_id="run-1",
            round=1,
            attempt=1,
            base=self.round().base_sha256,
            layout=self.layout.digest,
            strategy=strategy,
            parameters=parameters or {},
            encoding=self.encoding,
            optimizer_state=optimizer_state,
            updates=tuple(
                ManifestEntry(
                    client_id=row.client_id,
                    sha256=row.sha256,
                    examples=row.examples,
                    key=row.key,
                    object_version=row.object_version or "",
                    steps=row.steps,
                )
                for row in accepted
            ),
        )
        data, digest = encode_manifest(manifest)
        self.models.put(manifest_key(digest), data)
        self.store.commit(Update(ATTEMPT.key, assign={"manifest": digest}))
        return manifest

    def round(self) -> RoundRow:
        item = self.store.get(ATTEMPT.key)
        assert item is not None
        return from_item(item, RoundRow)

    def updates(self) -> dict[str, UpdateRow]:
        items = self.store.query(*ATTEMPT.updates)
        rows = [from_item(item, UpdateRow) for item in items]
        return {row.client_id: row for row in rows}

    def counted(self) -> int:
        items = self.store.query(ATTEMPT.updates[0], GATE_PREFIX)
        return sum(from_item(item, GateRow).n for item in items)

    @property
    def head(self) -> int:
        item = self.store.get(head_key("run-1"))
        assert item is not None
        return from_item(item, HeadRow).version

    def version(self, number: int = 1) -> VersionRow | None:
        item = self.store.get(version_key("run-1", number))
        return None if item is None else from_item(item, VersionRow)

    def weights(self, number: int = 1) -> Float32Array:
        """Read a version's columns, after checking that the object is what its name says."""
        row = self.version(number)
        assert row is not None
        data = self.models.get(weights_key(row.sha256))
        assert hashlib.sha256(data).hexdigest() == row.sha256
        return decode(data, self.layout)
