"""An inference process without sockets: bytes go into its connections and come out again."""

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httptools

from rondo_core.testing import ManualClock, MemoryModelStore, MemoryRunStore
from rondo_inference.assembly import Parts, assembled
from rondo_inference.batch.orders import Orders
from rondo_inference.registry.aliases import Aliases, StoreAliases
from rondo_inference.registry.folder import FolderAliases, MountedFolders
from rondo_inference.registry.folder_files import load_folder
from rondo_inference.registry.heap import give_back
from rondo_inference.registry.loader import Load, load_version
from rondo_inference.registry.watcher import Watcher
from rondo_inference.settings import Settings
from rondo_inference.web.connection import Connection
from rondo_inference.web.shared import ConnectionRules, Shared
from tests.unit.rondo_inference.exported import Export

SECONDS = 20.0


@dataclass(slots=True)
class Reply:
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    complete: bool = False

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class CountedThreads(ThreadPoolExecutor):
    """Threads that know how much work they were given."""

    given = 0

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.given += 1
        return super().submit(fn, *args, **kwargs)


class Wire(asyncio.Transport):  # noqa: PLR0904  (two protocols name them)
    """The other end of a connection: reads what the server writes."""

    def __init__(self) -> None:
        super().__init__()
        self.replies: list[Reply] = [Reply()]
        self.written = b""
        self.paused = False
        self.aborted = False
        self.unsent = 0
        self._closing = False
        self._parser = httptools.HttpResponseParser(self)
        self.changed = asyncio.Event()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)
        self._parser.feed_data(bytes(data))
        self.changed.set()

    def close(self) -> None:
        self._closing = True
        self.changed.set()

    def abort(self) -> None:
        self.aborted = True
        self.close()

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def is_closing(self) -> bool:
        return self._closing

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False

    def on_header(self, name: bytes, value: bytes) -> None:
        self.replies[-1].headers[name.decode().lower()] = value.decode()

    def on_headers_complete(self) -> None:
        self.replies[-1].status = self._parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        self.replies[-1].body += body

    def on_message_complete(self) -> None:
        if self.replies[-1].status == 100:
            self.replies[-1] = Reply()
            return
        self.replies[-1].complete = True
        self.replies.append(Reply())

    async def until(self, count: int) -> list[Reply]:
        """Return the first replies, as many as there are before the connection closes."""
        async with asyncio.timeout(SECONDS):
            while len(self.replies) <= count and not self._closing:
                self.changed.clear()
                await self.changed.wait()
        return [reply for reply in self.replies if reply.complete][:count]


def head(method: str, target: str, headers: Mapping[str, str]) -> bytes:
    named = {"host": "test", **headers}
    lines = [f"{method} {target} HTTP/1.1", *(f"{n}: {v}" for n, v in named.items()), "", ""]
    return "\r\n".join(lines).encode("latin-1")


async def call(
    shared: Shared,
    method: str,
    target: str,
    *,
    chunks: Sequence[bytes | None] = (b"",),
    headers: Mapping[str, str] | None = None,
) -> Reply | None:
    """Send one request; a chunk that is None is the caller going away. None: no answer was sent."""
    connection, wire = Connection(shared), Wire()
    connection.connection_made(wire)
    named = dict(headers or {})
    size = sum(len(chunk) for chunk in chunks if chunk is not None)
    if None in chunks:
        size += 1
    named.setdefault("content-length", str(size))
    connection.data_received(head(method, target, named))
    for chunk in chunks:
        await asyncio.sleep(0)
        if chunk is None:
            connection.connection_lost(None)
            return None
        if chunk and not wire.is_closing():
            connection.data_received(chunk)
    replies = await wire.until(1)
    connection.connection_lost(None)
    return replies[0] if replies else None


@dataclass
class Service:
    """What ``main`` puts together, on fakes."""

    parts: Parts
    aliases: Aliases
    clock: ManualClock
    rows: MemoryRunStore
    store: MemoryModelStore

    def __post_init__(self) -> None:
        self.catalogue = self.parts.catalogue
        self.metrics = self.parts.metrics
        self.app = self.parts.app
        self.rules = self.parts.server.rules
        self.watcher = Watcher(
            aliases=self.aliases,
            catalogue=self.catalogue,
            bring=self.parts.memory.bring,
            retire=self.parts.memory.retire,
            tidy=give_back,
            clock=self.clock,
            metrics=self.metrics,
        )

    def drain(self) -> None:
        self.parts.server.draining.set()

    def shared(self, rules: ConnectionRules | None = None) -> Shared:
        loop = asyncio.get_running_loop()
        draining = self.parts.server.draining.is_set
        return Shared(self.parts.server.app, rules or self.rules, draining, loop.time)

    def promote(self, export: Export) -> None:
        export.store(self.store)
        export.promote(self.rows)

    def serve(self, *exports: Export) -> None:
        for export in exports:
            self.promote(export)
        self.watcher.scan()

    async def call(
        self,
        method: str,
        target: str,
        *,
        chunks: Sequence[bytes | None] = (b"",),
        headers: Mapping[str, str] | None = None,
    ) -> Reply | None:
        return await call(self.shared(), method, target, chunks=chunks, headers=headers)

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
        path = quote(target, safe="/:?=&%$")
        reply = asyncio.run(self.call(method, path, chunks=[data], headers=named))
        assert reply is not None
        return reply


class Process:
    """A service and the one event loop that it lives in, for very many requests."""

    def __init__(self, service: Service, runner: asyncio.Runner) -> None:
        self.service = service
        self._runner = runner
        self._shared = runner.run(self._share())

    @classmethod
    @contextmanager
    def of(cls, service: Service) -> "Iterator[Process]":
        with asyncio.Runner() as runner:
            yield cls(service, runner)

    async def _share(self) -> Shared:
        return self.service.shared()

    def ask(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> Reply:
        sending = call(self._shared, method, path, chunks=[body], headers=headers)
        reply = self._runner.run(sending)
        assert reply is not None
        return reply


@contextmanager
def running(
    *,
    models: Path | None = None,
    many: bool = False,
    orders: Orders | None = None,
    **options: Any,
) -> Iterator[Service]:
    """Run a service on the store, on a folder, or, with ``many``, as a multi-model container."""
    rows, store, clock = MemoryRunStore(), MemoryModelStore(), ManualClock()
    settings = Settings(**({"max_body_bytes": 10_000} | options))
    chosen = {"on_demand": settings.load_on_demand, "pinned": settings.pinned}
    aliases: Aliases = StoreAliases(rows, **chosen)  # type: ignore[arg-type]
    load: Load = partial(load_version, store=store)
    mounted = MountedFolders()
    if many:
        load = _from(mounted)
    elif models is not None:
        aliases = FolderAliases(models, **chosen)  # type: ignore[arg-type]
        load = _from(aliases)
    describe = mounted.register if many else None
    with assembled(settings, load, clock=clock, cpus=2, describe=describe, orders=orders) as parts:
        service = Service(parts, aliases, clock, rows, store)
        if many:
            service.catalogue.settle()
        elif models is not None:
            service.watcher.scan()
        yield service


PRICES_ROW = {"instances": [[3, "Bonn"]]}


def predict_price(service: Service, path: str = "prices") -> tuple[int, str | None]:
    """Ask for a price; return the status, and the version that answered."""
    reply = service.ask("POST", f"/v1/models/{path}:predict", PRICES_ROW)
    return reply.status, reply.headers.get("x-rondo-version")


def _from(folders: FolderAliases | MountedFolders) -> Load:
    def load(alias: Any, **openers: Any) -> Any:
        return load_folder(alias, folder=folders.folder_of(alias), **openers)

    return load
