"""A server while it runs, under load, and what that takes."""

import http.client
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnxruntime

from bench.inference.servers import Server
from rondo_local.environments import checkout
from rondo_local.readiness import free_port

if TYPE_CHECKING:
    import numpy as np

START_SECONDS = 60.0
Measured = dict[str, float]


@contextmanager
def running(server: Server, first: bytes) -> Iterator[tuple[int, int, float]]:
    """Start a server; yield its port, its process id and the seconds to its first answer."""
    port = free_port()
    began = time.monotonic()
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            list(server.command(port)),
            env={"PATH": os.environ["PATH"], **server.environ},
            cwd=server.folder,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            while not _answers(port, first):
                if process.poll() is not None or time.monotonic() > began + START_SECONDS:
                    log.seek(0)
                    raise SystemExit(f"{server.name} does not answer:\n{log.read().decode()}")
                time.sleep(0.01)
            yield port, process.pid, time.monotonic() - began
        finally:
            _stop(process)


def _stop(process: "subprocess.Popen[bytes]") -> None:
    family = [process.pid, *_children(process.pid)]
    process.terminate()
    try:
        process.wait(timeout=20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for pid in family[1:]:
        if _parent(pid) is not None:
            os.kill(pid, 9)


def _answers(port: int, first: bytes) -> bool:
    head, _, body = first.partition(b"\r\n\r\n")
    path = head.split(b" ", 2)[1].decode()
    headers = dict(line.decode().split(": ", 1) for line in head.split(b"\r\n")[1:])
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("POST", path, body, headers)
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _parent(pid: int) -> int | None:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, ValueError):
        return None


def _children(pid: int) -> list[int]:
    parents = {int(one.name): _parent(int(one.name)) for one in Path("/proc").glob("[0-9]*")}
    found, added = {pid}, True
    while added:
        more = {one for one, parent in parents.items() if parent in found} - found
        found |= more
        added = bool(more)
    return sorted(found - {pid})


def _cpu_seconds(pid: int) -> float:
    ticks = 0
    for one in (pid, *_children(pid)):
        try:
            fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def resident_mib(pid: int) -> float:
    """Return what a process has in memory."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096 / 2**20


def load(
    port: int, pid: int, data: bytes, connections: int, seconds: float, *, rate: float = 0.0
) -> Measured:
    """Load a server from another process; return its figures with CPU time per request.

    With a rate, latency counts from when a request was due; see `bench.load`.
    """
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        before = _cpu_seconds(pid)
        done = subprocess.run(
            [sys.executable, "-m", "bench.load", str(port), str(connections), str(seconds),
             file.name, str(rate)],
            capture_output=True, text=True, check=False, cwd=checkout(),
        )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"the load on port {port} ended: {done.stderr.strip()}")
    found: Measured = json.loads(done.stdout)
    found["cpu_us"] = (_cpu_seconds(pid) - before) / found["requests"] * 1e6
    return found


def median_of(turns: Sequence[Measured]) -> Measured:
    """Return the median of every figure."""
    return {key: statistics.median(turn[key] for turn in turns) for key in turns[0]}


def raw_engine(model: Path, inputs: "np.ndarray[Any, np.dtype[np.float32]]") -> Measured:
    """Return what the model call alone takes, in this process."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    name, times = session.get_inputs()[0].name, []
    before = time.process_time()
    for _ in range(2_000):
        start = time.perf_counter()
        session.run(None, {name: inputs})
        times.append(time.perf_counter() - start)
    cpu = time.process_time() - before
    return {"p50_us": statistics.median(times[100:]) * 1e6, "cpu_us": cpu / len(times) * 1e6}
