"""The HTTP server, which on SIGTERM first says that it is not ready and ends a little later."""

import asyncio
import signal
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Protocol

import uvloop

from rondo_core.clock import Clock
from rondo_core.listening import close_listeners, open_listeners
from rondo_inference.web.connection import Connection
from rondo_inference.web.shared import App, ConnectionRules, Shared

__all__ = ["DrainingServer", "Neighbour"]

FINISH_SECONDS = 20.0
"""Requests under way may take this long after the drain; SIGKILL comes 30 s after SIGTERM."""

LINGER_SECONDS = 2.0
"""When the server ends, a caller that takes nothing of its answer for so long is cut off."""

SWEEP_SECONDS = 0.5
"""How often connections are looked at that took too long."""

BACKLOG = 2048
TICK_SECONDS = 0.1


class Neighbour(Protocol):
    """Another server in the same event loop."""

    async def start(self) -> None:
        """Listen.

        Raises:
            Invalid, Unavailable: nobody can listen there; see ``rondo_core.listening``.
        """
        ...

    async def stop(self, seconds: float) -> None:
        """Take no more requests, finish those under way within ``seconds``, and end."""
        ...


@dataclass
class DrainingServer:
    """A server that goes on answering for a while after SIGTERM, so that no balancer is surprised.

    Attributes:
        app: answers requests.
        rules: bounds of connections.
        host: address to listen on.
        port: its port; 0 for any.
        draining: set when the first signal comes; readiness looks at it.
        drain_seconds: from SIGTERM to closing the listener; SIGINT, or a second signal, closes it
            at once.
        clock: times the drain.
        neighbours: servers that start and stop with this one.
    """

    app: App
    rules: ConnectionRules
    host: str
    port: int
    draining: threading.Event
    drain_seconds: float
    clock: Clock
    neighbours: Sequence[Neighbour] = ()
    _close_at: float = field(default=0.0, init=False)
    _at_once: bool = field(default=False, init=False)

    def run_until_signalled(self, begin: Callable[[int], None] = lambda _: None) -> None:
        """Serve; return when a signal came and every request under way is answered.

        Args:
            begin: is told the port as soon as requests are accepted.

        Raises:
            Invalid, Unavailable: nobody can listen there; see ``rondo_core.listening``.
        """
        uvloop.run(self.serve(begin))

    def signalled(self, number: int) -> None:
        """Start to drain, or end at once; called by the signal handler."""
        if number == signal.SIGTERM and not self.draining.is_set():
            self._close_at = self.clock.monotonic() + self.drain_seconds
        else:
            self._at_once = True
        self.draining.set()

    @property
    def ends(self) -> bool:
        """Whether to close the listener now."""
        drained = self.draining.is_set() and self.clock.monotonic() >= self._close_at
        return self._at_once or drained

    async def serve(self, begin: Callable[[int], None] = lambda _: None) -> None:
        """Serve; see `run_until_signalled`."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.signalled, number)
        shared = Shared(self.app, self.rules, self.draining.is_set, loop.time)
        shared.date = _date()
        with ExitStack() as opened:
            listeners = open_listeners(self.host, self.port, backlog=BACKLOG)
            for listener in listeners:
                opened.enter_context(listener)
            for neighbour in self.neighbours:
                await neighbour.start()
            servers = [
                await loop.create_server(
                    lambda: Connection(shared), sock=listener.dup(), backlog=BACKLOG
                )
                for listener in listeners
            ]
            begin(listeners[0].getsockname()[1])
            sweep = loop.create_task(_sweep(shared))
            while not self.ends:  # noqa: ASYNC110  (the drain is timed by a clock of its own)
                await asyncio.sleep(TICK_SECONDS)
            for server in servers:
                server.close()
            waiting = close_listeners(listeners)
        for one in waiting:
            await loop.connect_accepted_socket(lambda: Connection(shared), one)
        await asyncio.gather(
            *(neighbour.stop(FINISH_SECONDS) for neighbour in self.neighbours), _finish(shared)
        )
        sweep.cancel()


async def _sweep(shared: Shared) -> None:
    while True:
        await asyncio.sleep(SWEEP_SECONDS)
        shared.date = _date()
        now = shared.time()
        for connection in list(shared.connections):
            connection.check(now)


async def _finish(shared: Shared) -> None:
    """Close connections as they become idle; those that do not are cut off in the end."""
    shared.write_seconds = min(shared.write_seconds, LINGER_SECONDS)
    end = shared.time() + FINISH_SECONDS
    while shared.time() < end:
        await asyncio.sleep(TICK_SECONDS / 2)  # what was accepted last is not among them yet
        if not shared.connections:
            break
        for connection in list(shared.connections):
            if connection.is_idle:
                connection.close()
    for connection in list(shared.connections):
        connection.cut("the server ends; try again")
    await asyncio.sleep(TICK_SECONDS)
    for connection in list(shared.connections):
        connection.abort()


def _date() -> bytes:
    return f"date: {formatdate(usegmt=True)}\r\n".encode()
