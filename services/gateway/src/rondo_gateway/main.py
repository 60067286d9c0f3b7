"""The gateway's process: settings, ports, application, server."""

import logging
import os
import secrets
import signal
import socket
from functools import partial
from types import FrameType

import uvicorn

from rondo_core.aws import connect
from rondo_core.clock import SystemClock
from rondo_core.listening import open_listeners
from rondo_core.settings import read_settings
from rondo_core.telemetry import Metrics, configure_logging
from rondo_core.tracing import start_tracing
from rondo_gateway.settings import Settings
from rondo_gateway.web.app import build_app, open_door
from rondo_gateway.web.door import Ports
from rondo_gateway.web.watcher import Watcher

__all__ = ["main"]

log = logging.getLogger(__name__)

SECRET_BYTES = 24
BACKLOG = 2048
STOP_SECONDS = 10
KEEP_ALIVE_SECONDS = 75
"""Longer than load balancers keep a connection, so that it is never this end that hangs up."""


class Server(uvicorn.Server):
    """Uvicorn that ends the long polls at the first signal, instead of waiting for them."""

    def __init__(self, config: uvicorn.Config, watcher: Watcher) -> None:
        super().__init__(config)
        self._watcher = watcher

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Answer all who wait, then stop gracefully."""
        self._watcher.close()
        await super().shutdown(sockets)


def main() -> None:
    """Serve until SIGTERM or SIGINT; then answer who waits, finish what runs, and return."""
    settings = read_settings(Settings, os.environ)
    configure_logging("gateway", level=settings.log_level)
    start_tracing("gateway", os.environ)
    listeners = open_listeners(settings.host, settings.port, backlog=BACKLOG)
    aws = connect(settings)
    ports = Ports(
        store=aws.run_store,
        objects=aws.model_store,
        links=aws.upload_links(settings.upload_endpoint_url),
        publish=aws.publish("rondo/gateway"),
        clock=SystemClock(),
        metrics=Metrics(),
        new_secret=partial(secrets.token_urlsafe, SECRET_BYTES),
    )
    door = open_door(ports, tick_seconds=settings.watch_seconds)
    config = uvicorn.Config(
        build_app(door),
        backlog=BACKLOG,
        http="httptools",
        loop="uvloop",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=STOP_SECONDS,
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _ignore)
    port = listeners[0].getsockname()[1]
    log.info("listening", extra={"host": settings.host, "port": port})
    Server(config, door.watcher).run(list(listeners))


def _ignore(_number: int, _frame: FrameType | None) -> None:
    """Uvicorn raises its signal again when it has stopped; the process then ends with status 0."""


if __name__ == "__main__":
    main()
