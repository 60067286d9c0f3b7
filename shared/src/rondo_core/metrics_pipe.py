"""Metrics of a worker's child processes, counted in its main process, which answers for all.

Children come and go, and each would start at zero. So they send what they measure as datagrams
over a socket that they inherit; a child that dies in between leaves no lock behind.
"""

import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from rondo_core.telemetry import CounterName, GaugeName, Metrics, SecondsName

__all__ = ["PipedMetrics", "pipe_to"]

log = logging.getLogger(__name__)

_LARGEST_DATAGRAM = 4096
_END = b""


class _Count(msgspec.Struct, frozen=True, tag=True):
    name: CounterName
    kind: str
    outcome: str
    amount: int


class _Observe(msgspec.Struct, frozen=True, tag=True):
    name: SecondsName
    seconds: float
    kind: str
    outcome: str


class _Gauge(msgspec.Struct, frozen=True, tag=True):
    name: GaugeName
    value: float
    kind: str


class PipedMetrics(Metrics):
    """Sends every measurement away; one that does not fit into the socket's buffer is dropped."""

    def __init__(self, pipe: socket.socket) -> None:
        super().__init__()
        self._pipe = pipe

    def count(
        self, name: CounterName, *, kind: str = "", outcome: str = "ok", amount: int = 1
    ) -> None:
        """Add to a counter of the main process."""
        self._send(_Count(name, kind, outcome, amount))

    def observe(
        self, name: SecondsName, seconds: float, *, kind: str = "", outcome: str = "ok"
    ) -> None:
        """Record a duration in the main process."""
        self._send(_Observe(name, seconds, kind, outcome))

    def gauge(self, name: GaugeName, value: float, *, kind: str = "") -> None:
        """Set a gauge of the main process."""
        self._send(_Gauge(name, value, kind))

    def _send(self, measurement: _Count | _Observe | _Gauge) -> None:
        try:
            self._pipe.send(msgspec.json.encode(measurement), socket.MSG_DONTWAIT)
        except OSError as exc:
            log.debug("measurement dropped", extra={"error": str(exc)})


@contextmanager
def pipe_to(metrics: Metrics) -> Iterator[PipedMetrics]:
    """Give what the children measure with, and record it in ``metrics``, in a thread.

    To be entered before the fork, in the process that lives on. What is measured after the end is
    dropped.
    """
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)

    def collect() -> None:
        while (datagram := here.recv(_LARGEST_DATAGRAM)) != _END:
            _record(datagram, metrics)

    with here, there:
        thread = threading.Thread(target=collect, name="metrics", daemon=True)
        thread.start()
        try:
            yield PipedMetrics(there)
        finally:
            there.send(_END)
            thread.join()


def _record(datagram: bytes, metrics: Metrics) -> None:
    match msgspec.json.decode(datagram, type=_Count | _Observe | _Gauge):
        case _Count(name, kind, outcome, amount):
            metrics.count(name, kind=kind, outcome=outcome, amount=amount)
        case _Observe(name, seconds, kind, outcome):
            metrics.observe(name, seconds, kind=kind, outcome=outcome)
        case _Gauge(name, value, kind):  # pragma: no branch - there are no others
            metrics.gauge(name, value, kind=kind)
