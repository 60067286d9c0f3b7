"""Spans that are kept in memory, and a collector that is told of them by other processes."""

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from rondo_core.spans import Recorder
from rondo_core.tracing import use

__all__ = ["Collector", "Told", "collecting", "kept"]


@dataclass(frozen=True, slots=True)
class Told:
    """A span: what the tests look at. Identifiers are in hexadecimal digits."""

    service: str
    name: str
    trace: str
    id: str
    parent: str
    links: tuple[str, ...] = ()
    failed: str = ""
    fields: dict[str, object] = field(default_factory=dict)
    seconds: float = 0.0


@contextmanager
def kept() -> Iterator["Kept"]:
    """Record spans of this process in memory while the block runs."""
    exporter = InMemorySpanExporter()
    use(Recorder("test", SimpleSpanProcessor(exporter)))
    try:
        yield Kept(exporter)
    finally:
        use(None)


@dataclass(frozen=True, slots=True)
class Kept:
    """The spans so far, in the order of their ends."""

    exporter: InMemorySpanExporter

    def all(self) -> list[Told]:
        return [_told(span) for span in self.exporter.get_finished_spans()]

    def named(self, name: str) -> Told:
        (found,) = [span for span in self.all() if span.name == name]
        return found


def _told(span: ReadableSpan) -> Told:
    assert span.context is not None
    assert span.start_time is not None
    assert span.end_time is not None
    return Told(
        "test",
        span.name,
        f"{span.context.trace_id:032x}",
        f"{span.context.span_id:016x}",
        f"{span.parent.span_id:016x}" if span.parent is not None else "",
        tuple(f"{link.context.span_id:016x}" for link in span.links),
        span.status.description or "",
        dict(span.attributes or {}),
        (span.end_time - span.start_time) / 1e9,
    )


@dataclass(slots=True)
class Collector:
    """Takes OTLP over HTTP, as a real one does.

    Attributes:
        url: for ``OTEL_EXPORTER_OTLP_ENDPOINT``.
        spans: what came.
    """

    url: str
    spans: list[Told] = field(default_factory=list)

    def named(self, service: str, name: str) -> list[Told]:
        return [span for span in self.spans if (span.service, span.name) == (service, name)]

    def take(self, body: bytes) -> None:
        for group in ExportTraceServiceRequest.FromString(body).resource_spans:
            named = {one.key: one.value.string_value for one in group.resource.attributes}
            for scope in group.scope_spans:
                for one in scope.spans:
                    ids = (one.trace_id.hex(), one.span_id.hex(), one.parent_span_id.hex())
                    self.spans.append(Told(named["service.name"], one.name, *ids))


@contextmanager
def collecting() -> Iterator[Collector]:
    """Run a collector on a free port."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            assert self.path == "/v1/traces"
            collector.take(body)
            answer = ExportTraceServiceResponse().SerializeToString()
            self.send_response(200)
            self.send_header("content-type", "application/x-protobuf")
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    collector = Collector(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield collector
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
