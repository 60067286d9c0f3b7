"""Inference and the batch side as processes, on an emulator and a real Redis."""

import http.client
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from rondo_core.aws import AwsPorts, connect
from rondo_core.rows import from_item
from rondo_core.settings import AwsSettings
from rondo_inference.domain.batch_job import ChunkRow, chunks_folder, job_pk
from rondo_local.bootstrap import bootstrap
from rondo_local.readiness import free_port, http_answers
from tests.emulators import Aws
from tests.unit.rondo_inference.exported import Export

PATIENCE_SECONDS = 90.0
TOWNS = ("Aa", "Bonn")


def until(happened: Callable[[], object], *, pause_seconds: float = 0.05) -> None:
    """Wait until something is true."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not happened():
        if time.monotonic() > deadline:
            pytest.fail(f"not within {PATIENCE_SECONDS} s")
        time.sleep(pause_seconds)


def prices_csv(rows: int, *, bad: Mapping[int, str] | None = None) -> bytes:
    """Return rows of the model ``prices``: version 1 answers ``rooms + 10 * (Bonn) + 1``."""
    lines = [f"{at % 97},{TOWNS[at % 2]}" for at in range(rows)]
    for at, line in (bad or {}).items():
        lines[at] = line
    return "\n".join(["rooms,town", *lines, ""]).encode()


def answers_csv(rows: int, *, version: int = 1) -> bytes:
    """Return what comes of it."""
    lines = [f"{at % 97 + 10 * (at % 2) + version:.1f}," for at in range(rows)]
    return "\n".join(["price,error", *lines, ""]).encode()


class Process:
    """One program, in a process group of its own."""

    def __init__(self, argv: tuple[str, ...], environment: dict[str, str], log: Path) -> None:
        self.port = free_port()
        self.log = log
        port = {"HEALTH_PORT": str(self.port), "PORT": str(self.port)}
        with log.open("ab") as output:
            self._popen = subprocess.Popen(
                [str(Path(sys.executable).parent / "rondo-inference"), *argv],
                env={**environment, **port},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        until(lambda: http_answers(f"http://127.0.0.1:{self.port}/readyz")() or not self.running())
        assert self.running(), log.read_text()

    def running(self) -> bool:
        return self._popen.poll() is None

    def kill(self) -> None:
        """End it and its children at once, as a machine that loses power."""
        if self.running():
            os.killpg(self._popen.pid, signal.SIGKILL)
        self._popen.wait()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let it and its children do nothing meanwhile."""
        os.killpg(self._popen.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.killpg(self._popen.pid, signal.SIGCONT)

    def stop(self) -> int:
        """Ask it to end; return its exit code."""
        self._popen.send_signal(signal.SIGTERM)
        return self._popen.wait(60)

    def lines(self) -> list[dict[str, Any]]:
        """Return what it logged."""
        found = [line for line in self.log.read_text().splitlines() if line.startswith("{")]
        return [json.loads(line) for line in found]


@dataclass
class BatchStack:
    """A store under a prefix of its own, and the processes of a test."""

    ports: AwsPorts
    environment: dict[str, str]
    folder: Path
    processes: list[Process] = field(default_factory=list)
    port: int = 0

    def start(self, *argv: str, **settings: str) -> Process:
        log = self.folder / f"{len(self.processes)}-{'-'.join(argv) or 'inference'}.log"
        process = Process(argv, {**self.environment, **settings}, log)
        self.processes.append(process)
        if not argv:
            self.port = process.port
        return process

    def promote(self, export: Export) -> None:
        export.store(self.ports.model_store)
        export.promote(self.ports.run_store)

    def call(
        self, method: str, path: str, body: object = None, **headers: str
    ) -> tuple[int, Mapping[str, str], Any]:
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)) as connection:
            connection.request(method, path, data, named)
            response = connection.getresponse()
            content = response.read()
            told = {name.lower(): value for name, value in response.getheaders()}
            return response.status, told, json.loads(content) if content else None

    def make(self, data: bytes, *, start: bool = True, **wanted: object) -> str:
        """Make a job of one file, put the file at its link, and start the job."""
        asked = {"content_type": "text/csv", "files": [{"name": "in.csv", "size": len(data)}]}
        status, _, job = self.call("POST", "/batch/prices/jobs", asked | wanted)
        assert status == 201, job
        link = job["uploads"][0]
        assert http_put(link["url"], link["headers"], data) == 200
        job_id = str(job["job_id"])
        if start:
            assert self.call("POST", f"/batch/prices/jobs/{job_id}/start")[0] == 200
        return job_id

    def show(self, job_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.call("GET", f"/batch/prices/jobs/{job_id}")[2]
        return found

    def over(self, job_id: str) -> dict[str, Any]:
        """Wait until a job is over."""
        until(lambda: self.show(job_id)["state"] in {"COMPLETED", "FAILED", "CANCELLED"})
        return self.show(job_id)

    def output(self, job_id: str) -> bytes:
        job = self.over(job_id)
        assert job["state"] == "COMPLETED", job
        return http_get(job["output"]["url"])

    def finished(self, job_id: str) -> set[int]:
        keys = [one.key for one in self.ports.object_folders.list(chunks_folder(job_id))]
        return {int(key.rpartition("/")[2]) for key in keys}

    def tries(self, job_id: str) -> dict[int, int]:
        """Return how often each chunk was begun."""
        items = self.ports.run_store.query(job_pk(job_id), "CHUNK#")
        return {
            int(str(item["SK"]).partition("#")[2]): from_item(item, ChunkRow).tries
            for item in items
        }


def http_put(url: str, headers: Mapping[str, str], data: bytes) -> int:
    parts = urlsplit(url)
    with closing(http.client.HTTPConnection(parts.netloc, timeout=60)) as connection:
        connection.request("PUT", f"{parts.path}?{parts.query}", data, dict(headers))
        return connection.getresponse().status


def http_get(url: str) -> bytes:
    parts = urlsplit(url)
    with closing(http.client.HTTPConnection(parts.netloc, timeout=60)) as connection:
        connection.request("GET", f"{parts.path}?{parts.query}")
        response = connection.getresponse()
        content = response.read()
        assert response.status == 200, content
        return content


@contextmanager
def batch_stack(aws: Aws, redis_url: str, folder: Path) -> Iterator[BatchStack]:
    """Make queues, table and bucket; kill at the end what a test left running."""
    prefix = f"b{secrets.token_hex(4)}"
    settings = AwsSettings(
        aws_endpoint_url=aws.endpoint_url, aws_region=aws.region, rondo_prefix=prefix
    )
    bootstrap(settings)
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONUNBUFFERED": "1",
        "ORT_DISABLE_TELEMETRY": "1",
        **aws.environment,
        "REDIS_URL": redis_url,
        "RONDO_PREFIX": prefix,
        "MODEL_REFRESH_SECONDS": "0.1",
        "LEASE_SECONDS": "1.5",
        "SWEEP_SECONDS": "0.3",
        "CHUNK_BYTES": "1024",
        "DRAIN_SECONDS": "0.1",
    }
    stack = BatchStack(connect(settings), environment, folder)
    try:
        yield stack
    finally:
        for process in stack.processes:
            process.kill()
