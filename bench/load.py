"""A load generator: so many connections, each sends its next request when it has its answer.

``python -m bench.load PORT CONNECTIONS SECONDS FILE [RATE]`` sends the bytes of FILE (a whole HTTP
request) and prints one line of JSON. It runs in a process of its own, so that it does not share the
interpreter's lock with a server.

With RATE, requests a second of all connections together, each is due at its time and goes out on
any free connection, and its latency counts from when it was due: a server that stops for a moment
delays those that would have come meanwhile.
"""

import asyncio
import ctypes
import json
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Protocol, cast

import uvloop

__all__ = ["summary"]


class _Caller(asyncio.Protocol):
    """Sends the same request again and again; understands answers with a Content-Length.

    Args:
        request: all bytes of it.
        done: is set when the connection is closed.
    """

    def __init__(self, request: bytes, done: "asyncio.Future[None]") -> None:
        self._request = request
        self._done = done
        self._pace: _Pace | None = None
        self._due: float | None = None
        self._is_over = False
        self._buffer = b""
        self._transport: asyncio.Transport | None = None
        self.times: list[float] = []
        self.errors = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def begin(self, pace: "_Pace") -> None:
        """Let it be said when to send."""
        self._pace = pace
        pace.answered(self, time.perf_counter())

    def ask(self, due: float) -> None:
        """Send a request that was due then."""
        self._due = due
        if self._transport is not None:
            self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._buffer = self._buffer + data if self._buffer else data
        head, blank, body = self._buffer.partition(b"\r\n\r\n")
        if not blank or len(body) < _length(head) or self._due is None or self._pace is None:
            return
        now = time.perf_counter()
        self.times.append(now - self._due)
        self.errors += not head.startswith((b"HTTP/1.1 200", b"HTTP/1.0 200"))
        self._buffer, self._due = b"", None
        self._pace.answered(self, now)

    def close(self) -> None:
        """End the connection, on which no answer is awaited."""
        self._is_over = True
        if self._transport is not None:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.errors += exc is not None or not self._is_over
        if not self._done.done():
            self._done.set_result(None)


def _length(head: bytes) -> int:
    lowered = head.lower()
    at = lowered.find(b"content-length:")
    return int(lowered[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0


class _Pace(Protocol):
    """Says when a connection sends."""

    def answered(self, caller: _Caller, now: float) -> None:
        """Note that a connection is free."""
        ...


class _WithoutPause:
    """Each connection asks again as soon as it has its answer."""

    def __init__(self, end: float) -> None:
        self._end = end

    def answered(self, caller: _Caller, now: float) -> None:
        """Let a connection ask, or close it."""
        if now < self._end:
            caller.ask(now)
        else:
            caller.close()


class _Paced:
    """Requests are due at fixed times, to the microsecond, and go out on any free connection.

    Timers of an event loop know milliseconds. Source: timerfd_create(2).
    """

    def __init__(self, end: float, rate: float) -> None:
        self._end = end
        self._period = 1 / rate
        self._due = time.perf_counter()
        self._free: list[_Caller] = []
        self._timer = _timer()
        self._is_set = False
        asyncio.get_running_loop().add_reader(self._timer, self._ring)

    def answered(self, caller: _Caller, now: float) -> None:
        """Let a connection send what is due, or wait for it."""
        if self._due >= self._end:
            caller.close()
            self._close()
        elif self._due <= now:
            self._ask(caller)
        else:
            self._free.append(caller)
            self._set()

    def _ask(self, caller: _Caller) -> None:
        caller.ask(self._due)
        self._due += self._period

    def _set(self) -> None:
        if not self._is_set:
            self._is_set = True
            _ring_at(self._timer, min(self._due, self._end))

    def _ring(self) -> None:
        os.read(self._timer, 8)
        self._is_set = False
        now = time.perf_counter()
        while self._free and self._due <= min(now, self._end):
            self._ask(self._free.pop(0))
        if now >= self._end:
            self._close()
        elif self._free:
            self._set()

    def _close(self) -> None:
        for caller in self._free:
            caller.close()
        self._free.clear()


_LIBRARY = ctypes.CDLL(None, use_errno=True)


def _timer() -> int:
    """Return the descriptor of a timer on the clock of `time.perf_counter`."""
    return _checked(_LIBRARY.timerfd_create(time.CLOCK_MONOTONIC, os.O_NONBLOCK))


def _ring_at(timer: int, when: float) -> None:
    seconds = int(when)
    times = (ctypes.c_long * 4)(0, 0, seconds, max(1, int((when - seconds) * 1e9)))
    _checked(_LIBRARY.timerfd_settime(timer, 1, times, None))


def _checked(found: int) -> int:
    if found < 0:
        raise OSError(ctypes.get_errno(), "no timer")
    return found


async def _run(
    port: int, connections: int, seconds: float, request: bytes, rate: float
) -> list[_Caller]:
    loop = asyncio.get_running_loop()
    callers: list[_Caller] = []
    waiting = []
    for _ in range(connections):
        done = loop.create_future()
        caller = _Caller(request, done)
        await loop.create_connection(lambda one=caller: one, "127.0.0.1", port)  # type: ignore[misc]
        callers.append(caller)
        waiting.append(done)
    end = time.perf_counter() + seconds
    pace = _Paced(end, rate) if rate else _WithoutPause(end)
    for caller in callers:
        caller.begin(pace)
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
    if not times:
        raise SystemExit(f"no answer came on {connections} connections, of which {errors} failed")
    print(json.dumps(summary(times, errors, seconds)))


if __name__ == "__main__":
    main()
