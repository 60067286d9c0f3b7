"""The real gateway, dispatcher and aggregator on stores in memory, one process, one loopback port.

What a client meets is real: HTTP on a socket, uvicorn, the gateway's routes and watcher, presigned
links that check size, digest and create-once. Behind it, a thread runs the services' own handlers.
"""

import hashlib
import itertools
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn

from rondo_core.clock import SystemClock
from rondo_core.keys import OPERATOR_KEY
from rondo_core.model_rows import OperatorRow
from rondo_core.model_store import UploadLink
from rondo_core.rows import to_item
from rondo_core.run_store import Put
from rondo_core.telemetry import Metrics
from rondo_core.testing import (
    MemoryModelStore,
    MemoryRunStore,
    MemoryUploadLinks,
)
from rondo_gateway.web.app import build_app, open_door
from rondo_gateway.web.door import Door, Ports
from rondo_local.readiness import free_port
from tests.integration.sdk_backstage import Backstage

__all__ = ["TOKEN", "SdkStack", "sdk_stack"]

TOKEN = "operators-only"
STORE = "http://store.test/models/"
Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class LoopbackLinks:
    """The links of the store in memory, at an address that a program can reach."""

    def __init__(self, links: MemoryUploadLinks, address: str) -> None:
        self._links, self._address = links, address

    def for_upload(
        self, key: str, *, size: int, sha256: str | None, expires_seconds: int
    ) -> UploadLink:
        link = self._links.for_upload(
            key, size=size, sha256=sha256, expires_seconds=expires_seconds
        )
        return UploadLink(link.url.replace(STORE, self._address), link.headers)

    def for_download(self, key: str, *, expires_seconds: int) -> str:
        url = self._links.for_download(key, expires_seconds=expires_seconds)
        return url.replace(STORE, self._address)


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
