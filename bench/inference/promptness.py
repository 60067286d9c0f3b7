"""How soon somebody is answered: a ping while the server has all it can do, and after its start.

What it has to do is many short requests, or one that has all the bytes that a body may have.
"""

import http.client
import shutil
import socket
import statistics
import tempfile
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

from bench.inference.asked import as_json, as_oip, large_csv, nested
from bench.inference.measuring import START_SECONDS, load, running
from bench.inference.servers import MODELS, on_folder, ours

CONNECTIONS = 16
_PAUSE_SECONDS = 0.01
_STARTS = 5
_BODIES = 3
_ROWS = 4_000
"""Pictures of a large body, of some 5 KB each."""
_SMALL = "digits"


def pings(seconds: float) -> dict[str, float]:
    """Ping on one connection while sixteen others send JSON without pause; milliseconds."""
    server = ours()
    data = server.requests["json"]
    with running(server, data) as (port, pid, _first), ThreadPoolExecutor(1) as thread:
        _await_all_models(port)
        loading = thread.submit(load, port, pid, data, CONNECTIONS, seconds)
        times = sorted(_pinged(port, loading))
        under = loading.result()
    return {
        "pings": len(times),
        "requests_per_second": under["requests_per_second"],
        "errors": under["errors"],
        "p50_ms": statistics.median(times) * 1e3,
        "p99_ms": times[int(len(times) * 0.99)] * 1e3,
        "max_ms": times[-1] * 1e3,
    }


def large_bodies() -> dict[str, dict[str, float]]:
    """Ping while a body of 20 MB is read, one after the other; milliseconds, of three of each.

    Nested lists are refused, the others are predicted.
    """
    bodies = {
        "JSON": as_json(f"/v1/models/{_SMALL}:predict", _ROWS),
        "OIP JSON": as_oip(_ROWS),
        "CSV": large_csv("/invocations?model=breast-cancer"),
        "lists of lists": nested(f"/v1/models/{_SMALL}:predict"),
    }
    server, found = ours(), {}
    with running(server, server.requests["json"]) as (port, _pid, _first):
        _await_all_models(port)
        for name, data in bodies.items():
            times, seconds = list[float](), list[float]()
            for _ in range(_BODIES):
                with ThreadPoolExecutor(1) as thread:
                    asking = thread.submit(_sent, port, data)
                    times += _pinged(port, asking)
                    seconds.append(asking.result())
            found[name] = {
                "megabytes": len(data) / 1e6,
                "answered_ms": statistics.median(seconds) * 1e3,
                "pings": len(times),
                "p50_ms": statistics.median(times) * 1e3,
                "max_ms": max(times) * 1e3,
            }
    return found


def _sent(port: int, data: bytes) -> float:
    """Send a whole request; return the seconds until all of its answer is there."""
    start = time.perf_counter()
    with closing(socket.create_connection(("127.0.0.1", port), timeout=START_SECONDS)) as caller:
        caller.sendall(data.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n", 1))
        while caller.recv(1 << 20):
            pass
    return time.perf_counter() - start


def _pinged(port: int, loading: "Future[Any]") -> list[float]:
    times: list[float] = []
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        while not loading.done():
            start = time.perf_counter()
            status = _ping(connection)
            times.append(time.perf_counter() - start)
            if status != http.HTTPStatus.OK:
                raise SystemExit(f"/ping was answered {status}")
            time.sleep(_PAUSE_SECONDS)
    return times


def _await_all_models(port: int) -> None:
    """Wait until pings are answered 200: one model may predict while others are still loaded."""
    deadline = time.monotonic() + START_SECONDS
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        while (status := _ping(connection)) != http.HTTPStatus.OK:
            if time.monotonic() > deadline:
                raise SystemExit(f"/ping is still answered {status} after {START_SECONDS:g} s")
            time.sleep(_PAUSE_SECONDS)


def _ping(connection: http.client.HTTPConnection) -> int:
    connection.request("GET", "/ping")
    response = connection.getresponse()
    response.read()
    return response.status


def starts() -> dict[str, float]:
    """Start the server with the digits model alone; seconds until its first prediction."""
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        shutil.copytree(MODELS / _SMALL, folder / _SMALL)
        server, first = on_folder(folder), as_json(f"/v1/models/{_SMALL}:predict", 1)
        times = []
        for _ in range(_STARTS):
            with running(server, first) as (_port, _pid, seconds):
                times.append(seconds)
    return {"starts": _STARTS, "median_seconds": statistics.median(times), "most": max(times)}
