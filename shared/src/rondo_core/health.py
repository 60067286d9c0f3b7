"""Health checks and metrics of a worker process over HTTP (extra ``service``)."""

import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client import generate_latest

from rondo_core.listening import listening
from rondo_core.settings import ServiceSettings
from rondo_core.telemetry import Metrics

__all__ = ["Health", "serve_health"]


@dataclass(slots=True)
class Health:
    """What the health endpoint tells: alive while every loop beat within ``limit_seconds``.

    Ready once ``ready`` is set.
    """

    limit_seconds: float = 120.0
    ready: threading.Event = field(default_factory=threading.Event)
    beats: dict[str, float] = field(default_factory=dict)

    def beat(self, loop: str) -> None:
        """Note that a loop is alive."""
        self.beats[loop] = time.monotonic()

    def stuck(self) -> list[str]:
        """Return the loops that have not beaten for too long."""
        now = time.monotonic()
        return [loop for loop, at in self.beats.items() if now - at > self.limit_seconds]


def _answer(path: str, health: Health, metrics: Metrics) -> tuple[int, bytes]:
    """Return status and body of one of the three pages."""
    if path == "/metrics":
        return 200, generate_latest(metrics.registry)
    if path == "/healthz":
        stuck = health.stuck()
        return (503, f"stuck: {', '.join(stuck)}\n".encode()) if stuck else (200, b"ok\n")
    if path == "/readyz":
        return (200, b"ready\n") if health.ready.is_set() else (503, b"not ready\n")
    return 404, b"not found\n"


def serve_health(
    settings: ServiceSettings, health: Health, metrics: Metrics
) -> ThreadingHTTPServer:
    """Answer ``/healthz``, ``/readyz`` and ``/metrics`` in a thread until ``shutdown``.

    Raises:
        Invalid, Unavailable: nobody can listen there; see ``rondo_core.listening``.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = _answer(self.path, health, metrics)
            self.send_response(status)
            self.send_header("Content-Type", "text/plain; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Health checks are not logged."""

    host, port = settings.health_host, settings.health_port
    with listening(host, port):
        server = ThreadingHTTPServer((host, port), Handler)
    threading.Thread(target=server.serve_forever, name="health", daemon=True).start()
    return server
