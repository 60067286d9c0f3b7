"""The HTTP server, which on SIGTERM first says that it is not ready and ends a little later."""

import signal
import threading
from types import FrameType

import uvicorn

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
    """

    def __init__(
        self, app: HttpApp, *, host: str, port: int, draining: threading.Event, drain_seconds: float
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

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Start to drain, or end at once; called by the signal handler."""
        first = not self._draining.is_set()
        self._draining.set()
        if first and sig == signal.SIGTERM:
            timer = threading.Timer(self._drain_seconds, super().handle_exit, (sig, frame))
            timer.daemon = True
            timer.start()
        else:
            super().handle_exit(sig, frame)

    def run_until_signalled(self) -> None:
        """Serve; return when a signal came and every request under way is answered.

        The handlers stay ours afterwards: the server raises the signal once more when it is done,
        and the process would die of it before it has cleaned up.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.handle_exit)
        self.run()
