"""An inference process without sockets: its routes are called as an ASGI server would."""

import asyncio
import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from rondo_core.exports import ExportIndex
from rondo_core.telemetry import Metrics
from rondo_core.testing import ManualClock, MemoryModelStore, MemoryRunStore
from rondo_inference.contracts.table import every_route
from rondo_inference.engines import Engine, open_onnx
from rondo_inference.handlers import predict
from rondo_inference.registry.catalogue import Catalogue
from rondo_inference.registry.loader import load_version
from rondo_inference.registry.watcher import Watcher
from rondo_inference.web.app import HttpApp, Message
from tests.unit.rondo_inference.exported import Export


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


async def call(
    app: HttpApp,
    method: str,
    target: str,
    *,
    chunks: Sequence[bytes | None] = (b"",),
    headers: Mapping[str, str] | None = None,
) -> Reply | None:
    """Send one request; a chunk that is None is the caller going away. None: no answer was sent."""
    path, _, query = target.partition("?")
    scope: dict[str, Any] = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": query.encode(),
        "headers": [(n.lower().encode(), v.encode()) for n, v in (headers or {}).items()],
    }
    waiting = list(chunks)
    sent: list[Message] = []

    async def receive() -> Message:
        chunk = waiting.pop(0)
        if chunk is None:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": chunk, "more_body": bool(waiting)}

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope, receive, send)
    if not sent:
        return None
    start, end = sent
    found = {name.decode(): value.decode() for name, value in start["headers"]}
    return Reply(start["status"], found, end["body"])


def _open(model: bytes, index: ExportIndex) -> Engine:
    return open_onnx(model, index, threads=1)


@dataclass
class Service:
    """What ``main`` puts together, on fakes."""

    workers: ThreadPoolExecutor
    max_body_bytes: int = 10_000
    rows: MemoryRunStore = field(default_factory=MemoryRunStore)
    store: MemoryModelStore = field(default_factory=MemoryModelStore)
    catalogue: Catalogue = field(default_factory=Catalogue)
    clock: ManualClock = field(default_factory=ManualClock)
    metrics: Metrics = field(default_factory=Metrics)
    draining: bool = False

    def __post_init__(self) -> None:
        self.watcher = Watcher(
            rows=self.rows,
            catalogue=self.catalogue,
            load=partial(load_version, store=self.store, open_engine=_open),
            clock=self.clock,
            metrics=self.metrics,
        )
        routes = every_route(
            self.catalogue,
            partial(predict, metrics=self.metrics),
            metrics=self.metrics.registry,
            ready=lambda: self.catalogue.ready and not self.draining,
        )
        self.app = HttpApp(
            routes, self.metrics, self.workers, self.max_body_bytes, lambda: self.draining
        )

    def promote(self, export: Export) -> None:
        export.store(self.store)
        export.promote(self.rows)

    def serve(self, *exports: Export) -> None:
        for export in exports:
            self.promote(export)
        self.watcher.scan()

    def ask(
        self,
        method: str,
        target: str,
        body: bytes | Mapping[str, object] = b"",
        **headers: str,
    ) -> Reply:
        """Send one request; ``content_type`` is the header Content-Type."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        reply = asyncio.run(call(self.app, method, target, chunks=[data], headers=named))
        assert reply is not None
        return reply


@contextmanager
def running(**options: Any) -> Iterator[Service]:
    with ThreadPoolExecutor(2) as workers:
        yield Service(workers, **options)
