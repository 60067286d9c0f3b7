"""What `rondo_core.tracing` records with, where it is on (extra ``tracing``)."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import cast

from opentelemetry import context as contexts
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode, get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from rondo_core.tracing import Around, Kind

__all__ = ["Recorder", "recorder_to"]

_HEADER = "traceparent"
_NANOSECONDS = 1_000_000_000
_KINDS = MappingProxyType(
    {
        "server": SpanKind.SERVER,
        "consumer": SpanKind.CONSUMER,
        "producer": SpanKind.PRODUCER,
        "internal": SpanKind.INTERNAL,
    }
)


@dataclass(frozen=True, slots=True)
class _Recorded:
    """A ``tracing.Recorded``."""

    span: Span

    def rename(self, name: str) -> None:
        self.span.update_name(name)

    def tell(self, name: str, value: str | int) -> None:
        self.span.set_attribute(name, value)

    def failed(self, reason: str) -> None:
        self.span.set_status(Status(StatusCode.ERROR, reason))


class Recorder:
    """Records the spans of one process; thread-safe.

    Args:
        service: what they are of.
        processor: takes them when they are over.
    """

    def __init__(self, service: str, processor: SpanProcessor) -> None:
        self._provider = TracerProvider(resource=Resource.create({"service.name": service}))
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("rondo")
        self._propagator = TraceContextTextMapPropagator()

    @contextmanager
    def span(self, name: str, kind: Kind, parent: str, links: Sequence[str]) -> Iterator[_Recorded]:
        """See ``tracing.span``. Of an error only its type is told: its text may hold data."""
        found = [get_current_span(self._extracted(link)).get_span_context() for link in links]
        with self._tracer.start_as_current_span(
            name,
            context=self._extracted(parent) if parent else None,
            kind=_KINDS[kind],
            links=[Link(one) for one in found if one.is_valid],
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            recorded = _Recorded(span)
            try:
                yield recorded
            except Exception as exc:
                recorded.failed(type(exc).__name__)
                raise

    @contextmanager
    def resumed(self, parent: str) -> Iterator[None]:
        """See ``tracing.resumed``."""
        token = contexts.attach(self._extracted(parent))
        try:
            yield
        finally:
            contexts.detach(token)

    def traceparent(self) -> str:
        """See ``tracing.traceparent``."""
        carrier: dict[str, str] = {}
        self._propagator.inject(carrier)
        return carrier.get(_HEADER, "")

    def around(self) -> Around:
        """See ``tracing.around``."""
        return Around(contexts.get_current())

    def record(self, name: str, parent: Around, start: float, end: float) -> None:
        """See ``tracing.record``."""
        since_epoch = time.time_ns() - time.perf_counter_ns()
        begun = self._tracer.start_span(
            name, cast("Context", parent), start_time=since_epoch + int(start * _NANOSECONDS)
        )
        begun.end(since_epoch + int(end * _NANOSECONDS))

    def flush(self) -> None:
        """See ``tracing.flush``."""
        self._provider.force_flush()

    def _extracted(self, parent: str) -> Context:
        return self._propagator.extract({_HEADER: parent})


def recorder_to(endpoint: str, service: str) -> Recorder:
    """Return what sends spans to a collector, as OTLP over HTTP, in batches from another thread.

    Args:
        endpoint: the collector's address, without ``/v1/traces``.
        service: what they are of.
    """
    exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces")
    return Recorder(service, BatchSpanProcessor(exporter))
