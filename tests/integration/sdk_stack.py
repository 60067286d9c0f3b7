"""The real gateway, dispatcher and aggregator on stores in memory, one process, one loopback port.

What a client meets is real: HTTP on a socket, uvicorn, the gateway's routes and watcher, presigned
links that check size, digest and create-once. Behind it, a thread runs the services' own handlers.
"""

import hashlib
import itertools
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import uvicorn

from rondo_aggregator.adapters.file_objects import FileCache, FileObjects
from rondo_aggregator.domain.attempt import Attempt
from rondo_aggregator.handlers.intake import intake_handlers
from rondo_aggregator.handlers.ports import Worker
from rondo_aggregator.handlers.sweep import Sweeper
from rondo_aggregator.tasks import WorkerPorts, run_combine, run_partial, run_validate
from rondo_core.clock import SystemClock
from rondo_core.consumer import consume_once
from rondo_core.events import EvaluationRequested, VersionPromoted, decode_event
from rondo_core.model_store import UploadLink
from rondo_core.rows import OPERATOR_KEY, OperatorRow, RunRow, from_item, run_key, to_item
from rondo_core.run_store import Put
from rondo_core.telemetry import Metrics
from rondo_core.testing import (
    MemoryBus,
    MemoryModelStore,
    MemoryRunStore,
    MemoryUploadLinks,
    MemoryWorkflow,
)
from rondo_dispatcher.handlers.ports import Ports as DispatcherPorts
from rondo_dispatcher.handlers.sweeping import Sweep
from rondo_dispatcher.handlers.table import handler_table
from rondo_gateway.web.app import build_app, open_door
from rondo_gateway.web.door import Door, Ports
from rondo_local.readiness import free_port

__all__ = ["TOKEN", "SdkStack", "sdk_stack"]

TOKEN = "operators-only"
STORE = "http://store.test/models/"
SWEEP_SECONDS = 0.2
Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class LoopbackLinks:
    """The links of the store in memory, at an address that a program can reach."""

    def __init__(self, links: MemoryUploadLinks, address: str) -> None:
        self._links, self._address = links, address

    def for_upload(self, key: str, *, size: int, sha256: str, expires_seconds: int) -> UploadLink:
        link = self._links.for_upload(
            key, size=size, sha256=sha256, expires_seconds=expires_seconds
        )
        return UploadLink(link.url.replace(STORE, self._address), link.headers)

    def for_download(self, key: str, *, expires_seconds: int) -> str:
        url = self._links.for_download(key, expires_seconds=expires_seconds)
        return url.replace(STORE, self._address)


@dataclass
class InlineJobs:
    """Tasks in a list, for the thread that works them off."""

    tasks: deque[Callable[[WorkerPorts], None]] = field(default_factory=deque)

    def validate(self, attempt: Attempt, clients: Sequence[str]) -> None:
        self.tasks.append(lambda ports: run_validate(attempt, clients, ports))

    def combine(self, attempt: Attempt, *, take_over: int | None = None) -> None:
        self.tasks.append(lambda ports: run_combine(attempt, take_over, ports))

    def make_partial(self, attempt: Attempt, *, manifest: str, width: int, index: int) -> None:
        self.tasks.append(lambda ports: run_partial(attempt, manifest, width, index, ports))


class Backstage:
    """Dispatcher, aggregator and a stand-in for the evaluator, in one thread."""

    def __init__(self, store: MemoryRunStore, objects: MemoryModelStore, folder: Path) -> None:
        self.store, self.objects, clock = store, objects, SystemClock()
        self.bus = MemoryBus(clock)
        self.workflow = MemoryWorkflow(self.bus, clock)
        self.metrics = Metrics()
        self._jobs = InlineJobs()
        self._dispatcher = DispatcherPorts(
            store=store,
            model_store=objects,
            publish=self.bus.publish,
            workflow=self.workflow,
            clock=clock,
            metrics=self.metrics,
        )
        self._worker = WorkerPorts(
            store=store,
            objects=FileObjects(objects, FileCache(folder, max_bytes=1_000_000)),
            jobs=self._jobs,
            publish=self.bus.publish,
            clock=clock,
            metrics=self.metrics,
            worker=Worker("worker-1", 1000),
        )
        self._sweeps: tuple[Callable[[], object], ...] = (
            Sweep(self._dispatcher),
            Sweeper(
                store=store,
                models=objects,
                jobs=self._jobs,
                publish=self.bus.publish,
                clock=clock,
                lease_seconds=5.0,
            ),
        )
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="backstage")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _work(self) -> None:
        swept = 0.0
        while not self._stop.is_set():
            self._consume("dispatcher", handler_table(self._dispatcher))
            self._consume("aggregator", intake_handlers(self._jobs))
            while self._jobs.tasks:
                self._jobs.tasks.popleft()(self._worker)
            self._promote()
            if time.monotonic() > swept + SWEEP_SECONDS:
                for sweep in self._sweeps:
                    sweep()
                swept = time.monotonic()

    def _consume(self, service: str, handlers: Any) -> None:
        consume_once(self.bus.source(service), handlers, self.metrics, wait_seconds=0.005)

    def _promote(self) -> None:
        """Stand in for the evaluator, which needs TensorFlow: every version is good enough."""
        source = self.bus.source("evaluator")
        for delivery in source.receive(wait_seconds=0):
            event = decode_event(delivery.body)
            assert isinstance(event, EvaluationRequested)
            self.workflow.succeed(event.task_token, {})
            promoted = VersionPromoted(
                event_id=f"VersionPromoted/{event.run_id}",
                run_id=event.run_id,
                occurred_at=SystemClock().now(),
                model=self._model_of(event.run_id),
                version=event.state.rounds,
                model_version=1,
                sha256="a" * 64,
            )
            self.bus.publish(promoted)
            source.acknowledge([delivery])

    def _model_of(self, run_id: str) -> str:
        return from_item(self.store.get(run_key(run_id)) or {}, RunRow).model


class SdkStack:
    """The gateway and the store on one port; the gateway can be stopped and started again.

    Attributes:
        url: the gateway's address.
        before_put: called in the server before each upload is stored.
    """

    def __init__(self, folder: Path) -> None:
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self.store, self.objects = MemoryRunStore(), MemoryModelStore()
        digest = hashlib.sha256(TOKEN.encode()).hexdigest()
        self.store.commit(Put(OPERATOR_KEY, to_item(OperatorRow(token_sha256=digest))))
        self.links = MemoryUploadLinks(self.objects, SystemClock())
        self.backstage = Backstage(self.store, self.objects, folder)
        self.before_put: Callable[[], None] = lambda: None
        self._numbers = itertools.count()
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None

    def start_gateway(self) -> None:
        ports = Ports(
            store=self.store,
            objects=self.objects,
            links=LoopbackLinks(self.links, f"{self.url}/models/"),
            publish=self.backstage.bus.publish,
            clock=SystemClock(),
            metrics=Metrics(),
            new_secret=lambda: f"secret-{next(self._numbers)}",
        )
        door = open_door(ports, tick_seconds=0.01)
        app = self._with_store(build_app(door))
        config = uvicorn.Config(app, port=self._port, log_config=None, timeout_graceful_shutdown=1)
        self._server = _Server(config, door)
        self._thread = threading.Thread(target=self._server.run, name="gateway")
        self._thread.start()
        while not self._server.started:
            assert self._thread.is_alive(), "the gateway did not start"
            time.sleep(0.01)

    def stop_gateway(self) -> None:
        assert self._server is not None
        assert self._thread is not None
        self._server.should_exit = True
        self._thread.join()

    def _with_store(self, gateway: Any) -> Any:
        async def door(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http" and scope["path"].startswith("/models/"):
                await self._object(scope, receive, send)
            else:
                await gateway(scope, receive, send)

        return door

    async def _object(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer for a presigned link, as the store would."""
        path = scope["raw_path"].decode().removeprefix("/models/")
        url = f"{STORE}{path}?{scope['query_string'].decode()}"
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        status, answer = 0, b""
        if scope["method"] == "PUT":
            self.before_put()
            headers = {name.decode(): value.decode() for name, value in scope["headers"]}
            status = self.links.put(url, headers, body)
        else:
            status, answer = self.links.get(url)
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": answer})


class _Server(uvicorn.Server):
    """As the gateway's own: long polls end when it stops."""

    def __init__(self, config: uvicorn.Config, door: Door) -> None:
        super().__init__(config)
        self._door = door

    async def shutdown(self, sockets: Any = None) -> None:
        self._door.watcher.close()
        await super().shutdown(sockets)


@contextmanager
def sdk_stack(folder: Path) -> Iterator[SdkStack]:
    """Start everything, and stop it in the end."""
    stack = SdkStack(folder)
    with stack.backstage:
        stack.start_gateway()
        try:
            yield stack
        finally:
            stack.stop_gateway()
