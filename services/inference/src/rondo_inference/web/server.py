"""The HTTP server, which on SIGTERM first says that it is not ready and ends a little later."""

import signal
import threading
from types import FrameType

import uvicorn

from rondo_core.clock import Clock
from rondo_inference.web.app import HttpApp

__all__ = ["DrainingServer"]

FINISH_SECONDS = 20
"""Requests under way may take this long after the drain; SIGKILL comes 30 s after SIGTERM."""

KEEP_ALIVE_SECONDS = 75
"""Longer than a load balancer keeps an idle connection (60 s): the balancer closes it first."""


class DrainingServer(uvicorn.Server):
    """A server that goes on answering for a while after SIGTERM, so that no balancer is surprised.

    Args:
        app: the application.
        host: address to listen on.
        port: its port.
        draining: set when the first signal comes; readiness looks at it.
        drain_seconds: from SIGTERM to closing the listener; SIGINT, or a second signal, closes it
            at once.
        clock: times the drain.
    """

    def __init__(
        self,
        app: HttpApp,
        *,
        host: str,
        port: int,
        draining: threading.Event,
        drain_seconds: float,
        clock: Clock,
    ) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                host=host,
                port=port,
                http="httptools",
                loop="uvloop",
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=FINISH_SECONDS,
            )
        )
        self._draining = draining
        self._drain_seconds = drain_seconds
        self._clock = clock
        self._close_at = 0.0

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Start to drain, or end at once; called by the signal handler."""
        if sig == signal.SIGTERM and not self._draining.is_set():
            self._close_at = self._clock.monotonic() + self._drain_seconds
        else:
            super().handle_exit(sig, frame)
        self._draining.set()

    async def on_tick(self, counter: int) -> bool:
        """Return whether to close the listener now; called ten times a second."""
        if self._draining.is_set() and self._clock.monotonic() >= self._close_at:
            self.should_exit = True
        return await super().on_tick(counter)

    def run_until_signalled(self) -> None:
        """Serve; return when a signal came and every request under way is answered.

        The handlers stay ours afterwards: the server raises a signal once more when it is done, and
        the process would die of it before it has cleaned up.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.handle_exit)
        self.run()
