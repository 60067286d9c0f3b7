"""JSON logs on stdout and Prometheus metrics from one typed list of names (extra ``service``)."""

import json
import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Literal, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

__all__ = [
    "CounterName",
    "GaugeName",
    "JsonFormatter",
    "Metrics",
    "SecondsName",
    "configure_logging",
]

CounterName = Literal[
    "rondo_events_handled_total",
    "rondo_events_dead_lettered_total",
    "rondo_events_set_aside_total",
    "rondo_loop_failures_total",
    "rondo_rounds_opened_total",
    "rondo_rounds_sealed_total",
    "rondo_rounds_aborted_total",
    "rondo_versions_committed_total",
    "rondo_updates_judged_total",
    "rondo_clients_enrolled_total",
    "rondo_evaluations_total",
    "rondo_batch_chunks_total",
    "rondo_batch_jobs_total",
    "rondo_batch_out_of_range_total",
    "rondo_http_requests_total",
    "rondo_swaps_total",
    "rondo_load_failures_total",
]
SecondsName = Literal[
    "rondo_event_seconds",
    "rondo_sweep_seconds",
    "rondo_validate_seconds",
    "rondo_combine_seconds",
    "rondo_evaluate_seconds",
    "rondo_batch_seconds",
    "rondo_export_seconds",
    "rondo_http_seconds",
]
GaugeName = Literal[
    "rondo_active_rounds",
    "rondo_waiting_clients",
    "rondo_served_version",
    "rondo_predictions_in_flight",
]
"""Names as Prometheus wants them: base units, ``_total`` for counters.

Labels are ``kind`` and ``outcome`` throughout.
"""

LABELS = ("kind", "outcome")


class Metrics:
    """All metrics of one process, in a registry of its own. Safe to use from several threads."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._counters = {
            name: Counter(name, name.replace("_", " "), LABELS, registry=self.registry)
            for name in get_args(CounterName)
        }
        self._seconds = {
            name: Histogram(name, name.replace("_", " "), LABELS, registry=self.registry)
            for name in get_args(SecondsName)
        }
        self._gauges = {
            name: Gauge(name, name.replace("_", " "), ("kind",), registry=self.registry)
            for name in get_args(GaugeName)
        }

    def count(
        self, name: CounterName, *, kind: str = "", outcome: str = "ok", amount: int = 1
    ) -> None:
        """Add to a counter."""
        self._counters[name].labels(kind, outcome).inc(amount)

    def observe(
        self, name: SecondsName, seconds: float, *, kind: str = "", outcome: str = "ok"
    ) -> None:
        """Record a duration in seconds."""
        self._seconds[name].labels(kind, outcome).observe(seconds)

    def gauge(self, name: GaugeName, value: float, *, kind: str = "") -> None:
        """Set a gauge."""
        self._gauges[name].labels(kind).set(value)

    def read(self, name: GaugeName, value: Callable[[], float], *, kind: str = "") -> None:
        """Let a gauge be what ``value`` returns whenever it is looked at, in whatever thread."""
        self._gauges[name].labels(kind).set_function(value)

    @contextmanager
    def timed(self, name: SecondsName, *, kind: str = "") -> Iterator[None]:
        """Record how long the block took, as ``error`` when it raised."""
        start, outcome = time.perf_counter(), "error"
        try:
            yield
            outcome = "ok"
        finally:
            self.observe(name, time.perf_counter() - start, kind=kind, outcome=outcome)


_PLAIN = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, service, message, and every field given by ``extra``."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "service": self._service,
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {name: value for name, value in record.__dict__.items() if name not in _PLAIN}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def configure_logging(service: str, *, level: str = "INFO") -> None:
    """Send all logs of the process to stdout as JSON lines; called once, in ``main``."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonFormatter(service))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for noisy in ("botocore", "urllib3", "boto3"):
        logging.getLogger(noisy).setLevel("WARNING")
