"""A load generator: so many connections, each sends its next request when it has its answer.

``python -m bench.load PORT CONNECTIONS SECONDS FILE [RATE]`` sends the bytes of FILE (a whole HTTP
request) and prints one line of JSON. It runs in a process of its own, so that it does not share the
interpreter's lock with a server.

With RATE, requests a second of all connections together, each is due at its time, and its latency
counts from then: a server that stops for a moment delays those that would have come meanwhile.
"""

import asyncio
import json
import statistics
import sys
import time
from pathlib import Path
from typing import cast

import uvloop

__all__ = ["summary"]


class _Caller(asyncio.Protocol):
    """Sends the same request again and again; understands answers with a Content-Length."""

    def __init__(
        self, request: bytes, end: float, done: "asyncio.Future[None]", *, period: float
    ) -> None:
        self._request = request
        self._end = end
        self._done = done
        self._period = period
        self._due = 0.0
        self._buffer = b""
        self._counts_from = 0.0
        self._transport: asyncio.Transport | None = None
        self.times: list[float] = []
        self.errors = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._due = time.perf_counter()
        self._send()

    def _send(self) -> None:
        if self._transport is None:
            return
        self._counts_from = self._due if self._period else time.perf_counter()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._buffer = self._buffer + data if self._buffer else data
        head, blank, body = self._buffer.partition(b"\r\n\r\n")
        if not blank or len(body) < _length(head):
            return
        now = time.perf_counter()
        self.times.append(now - self._counts_from)
        self.errors += not head.startswith((b"HTTP/1.1 200", b"HTTP/1.0 200"))
        self._buffer = b""
        self._due += self._period
        if max(now, self._due) < self._end:
            self._send_when_due(self._due - now)
        elif self._transport is not None:
            self._transport.close()

    def _send_when_due(self, seconds: float) -> None:
        if seconds > 0:
            asyncio.get_running_loop().call_later(seconds, self._send)
        else:
            self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None or max(time.perf_counter(), self._due) < self._end:
            self.errors += 1
        if not self._done.done():
            self._done.set_result(None)


def _length(head: bytes) -> int:
    lowered = head.lower()
    at = lowered.find(b"content-length:")
    return int(lowered[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0


async def _run(
    port: int, connections: int, seconds: float, request: bytes, rate: float
) -> list[_Caller]:
    loop = asyncio.get_running_loop()
    end = time.perf_counter() + seconds
    callers: list[_Caller] = []
    waiting = []
    period = connections / rate if rate else 0.0
    for _ in range(connections):
        done = loop.create_future()
        caller = _Caller(request, end, done, period=period)
        await loop.create_connection(lambda one=caller: one, "127.0.0.1", port)  # type: ignore[misc]
        callers.append(caller)
        waiting.append(done)
    await asyncio.gather(*waiting)
    return callers


def summary(times: list[float], errors: int, seconds: float) -> dict[str, float]:
    """Return requests a second and quantiles in microseconds."""
    ordered = sorted(times)
    at_99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    return {
        "requests": len(ordered),
        "errors": errors,
        "requests_per_second": len(ordered) / seconds,
        "p50_us": statistics.median(ordered) * 1e6,
        "p99_us": at_99 * 1e6,
        "max_us": ordered[-1] * 1e6,
    }


def main() -> None:
    """Run; see the module."""
    port, connections, seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    request = Path(sys.argv[4]).read_bytes()
    rate = float(sys.argv[5]) if len(sys.argv) > 5 else 0.0  # noqa: PLR2004 - argv
    callers = uvloop.run(_run(port, connections, seconds, request, rate))
    times = [one for caller in callers for one in caller.times]
    errors = sum(caller.errors for caller in callers)
    print(json.dumps(summary(times, errors, seconds)))


if __name__ == "__main__":
    main()
