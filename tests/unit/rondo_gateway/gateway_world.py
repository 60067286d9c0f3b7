"""A gateway on fakes in process, and the bodies that people send to it."""

import asyncio
import base64
import hashlib
import itertools
from collections.abc import Callable, Mapping
from typing import Any

import httpx
import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from rondo_core.errors import Unavailable
from rondo_core.events import Event
from rondo_core.initial_weights import layout_of_spec
from rondo_core.keys import OPERATOR_KEY
from rondo_core.model_rows import OperatorRow
from rondo_core.model_spec import ModelSpec, parse_model_spec
from rondo_core.run_store import Change, CommitConflict, Delete, Item, Key
from rondo_core.telemetry import Metrics
from rondo_core.testing import (
    ManualClock,
    MemoryBus,
    MemoryModelStore,
    MemoryRunStore,
    MemoryUploadLinks,
)
from rondo_gateway.web.app import build_app, open_door
from rondo_gateway.web.door import Ports
from tests.unit.rondo_gateway.gateway_http import Http, turns_until
from tests.unit.rondo_gateway.gateway_rows import RUN, SHA, SIZE, SPEC, START, Client, Others

LONG = {"wait": "30"}
TOKEN = "operators-secret"
OPERATOR = {"Authorization": f"Bearer {TOKEN}"}


class WatchedRunStore(MemoryRunStore):
    """Counts what is read, and stops answering when it is told to.

    Attributes:
        down: every call raises ``Unavailable``.
        broken: every read raises an error that nobody expects.
        reads: the calls of ``get``, ``query`` and ``active``, by what was read.
        before_commit: called once before the next commit, to let somebody else be quicker.
        after_conflict: called once after the next commit that was refused.
    """

    def __init__(self) -> None:
        super().__init__()
        self.down = False
        self.broken = False
        self.reads: list[str] = []
        self.before_commit: Callable[[], None] | None = None
        self.after_conflict: Callable[[], None] | None = None

    def get(self, key: Key) -> Item | None:
        self._read("/".join(key))
        return super().get(key)

    def query(self, pk: str, prefix: str = "") -> list[Item]:
        self._read(f"{pk}/{prefix}*")
        return super().query(pk, prefix)

    def active(self, kind: str) -> list[Item]:
        self._read(f"active {kind}")
        return super().active(kind)

    def commit(self, *changes: Change) -> None:
        if self.down:
            raise Unavailable("table rondo-table did not answer")
        if self.before_commit is not None:
            hook, self.before_commit = self.before_commit, None
            hook()
        try:
            super().commit(*changes)
        except CommitConflict:
            if self.after_conflict is not None:
                hook, self.after_conflict = self.after_conflict, None
                hook()
            raise

    def _read(self, what: str) -> None:
        self.reads.append(what)
        if self.down:
            raise Unavailable("table rondo-table did not answer")
        if self.broken:
            raise ZeroDivisionError("a secret in a traceback")


class World(Others):
    """The fakes, the application, and short words for what happens around it."""

    def __init__(self) -> None:
        self.store = WatchedRunStore()
        objects = MemoryModelStore()
        super().__init__(self.store, objects, ManualClock(START))
        self.bus = MemoryBus(self.clock)
        self.links = MemoryUploadLinks(objects, self.clock)
        self.metrics = Metrics()
        self.topic_down = False
        secrets = (f"{number}-secret" for number in itertools.count(1))
        self.ports = Ports(
            store=self.store,
            objects=self.objects,
            links=self.links,
            publish=self.publish,
            clock=self.clock,
            metrics=self.metrics,
            new_secret=lambda: next(secrets),
        )
        self.door = open_door(self.ports, tick_seconds=0.001)
        self.app = build_app(self.door)
        digest = hashlib.sha256(TOKEN.encode()).hexdigest()
        self.put(OPERATOR_KEY, OperatorRow(token_sha256=digest))

    def publish(self, *events: Event) -> None:
        if self.topic_down:
            raise Unavailable("topic rondo-events did not answer")
        self.bus.publish(*events)

    def deletes(self, pk: str, *prefixes: str) -> list[Change]:
        keys = [item["SK"] for prefix in prefixes for item in self.store.query(pk, prefix)]
        return [Delete(Key(pk, str(key))) for key in keys]


def registration(**changes: Any) -> dict[str, Any]:
    """Return the body that registers ``SPEC``."""
    layout = layout_of_spec(the_spec())
    body: dict[str, Any] = {
        "spec": SPEC,
        "header": layout.header.decode(),
        "initial": {"sha256": hashlib.sha256(b"w").hexdigest(), "size": layout.size_bytes},
        "holdout": {"sha256": hashlib.sha256(b"holdout").hexdigest(), "size": 7},
    }
    return body | changes


def the_spec() -> ModelSpec:
    return parse_model_spec(msgspec.json.encode(SPEC))


def enrolment(code: str, key: Ed25519PrivateKey, name: str = "north") -> dict[str, str]:
    public = key.public_key().public_bytes_raw()
    return {"invite": code, "public_key": base64.b64encode(public).decode(), "name": name}


def declaration(**changes: Any) -> dict[str, Any]:
    body = {"sha256": SHA, "size": SIZE, "examples": 10, "metrics": {"accuracy": 0.5}}
    return body | changes


def refused(response: httpx.Response, status: int, code: str) -> Mapping[str, str]:
    """Assert that a response is the expected problem; return it."""
    body = response.json()
    assert (response.status_code, body.get("code")) == (status, code), body
    assert response.headers["X-Correlation-ID"] == body["correlation_id"]
    return body  # type: ignore[no-any-return]  # JSON


def update_url(tail: str = "", *, run_id: str = RUN, number: int = 1, attempt: int = 1) -> str:
    return f"/v1/runs/{run_id}/rounds/{number}/attempts/{attempt}/update{tail}"


async def wait_while(
    http: Http, world: World, call: httpx.Request, meanwhile: Callable[[], object]
) -> httpx.Response:
    """Send a long poll; once it waits, let something happen; return what it was answered."""
    waiting = asyncio.create_task(http.client.send(call))
    before = len(world.store.reads)
    await turns_until(lambda: waiting.done() or len(world.store.reads) >= before + 4)
    assert not waiting.done(), waiting.result().text
    meanwhile()
    return await waiting


def poll(http: Http, client: Client, path: str = "/v1/work", **query: str) -> httpx.Request:
    params = LONG | query
    return http.client.build_request("GET", path, params=params, headers=client.headers())


def declare(http: Http, client: Client, **changes: object) -> dict[str, object]:
    response = http.put(update_url(), json=declaration(**changes), headers=client.headers())
    assert response.status_code == 200, response.text
    return response.json()  # type: ignore[no-any-return]  # JSON
