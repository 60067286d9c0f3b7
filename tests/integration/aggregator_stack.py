"""The aggregator's two programs as processes, on an emulator and a real Redis."""

import os
import secrets
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from rondo_core.aws import AwsPorts, DynamoRunStore, S3ModelStore, connect
from rondo_core.cloud_events import decode_event
from rondo_core.events import RoundSealed, UpdateSubmitted
from rondo_core.layout import Float32Array, Layout
from rondo_core.manifest import Manifest
from rondo_core.settings import AwsSettings
from rondo_core.weights import decode
from rondo_local.bootstrap import bootstrap
from rondo_local.readiness import free_port, http_answers
from tests.emulators import Aws
from tests.unit.rondo_aggregator.round_rows import LAYOUT, RoundRows

PATIENCE_SECONDS = 60.0


def until(happened: Callable[[], object], *, pause_seconds: float = 0.05) -> None:
    """Wait until something is true."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not happened():
        if time.monotonic() > deadline:
            pytest.fail(f"not within {PATIENCE_SECONDS} s")
        time.sleep(pause_seconds)


class Process:
    """One program, in a process group of its own."""

    def __init__(self, name: str, environment: dict[str, str], log: Path) -> None:
        self.port = free_port()
        self.log = log
        with log.open("ab") as output:
            self._popen = subprocess.Popen(
                [str(Path(sys.executable).parent / "rondo-aggregator"), name],
                env={**environment, "HEALTH_PORT": str(self.port)},
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

    def stop(self) -> int:
        """Ask it to end; return its exit code."""
        self._popen.send_signal(signal.SIGTERM)
        return self._popen.wait(30)

    def metrics(self) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics") as answer:
            return str(answer.read().decode())


@dataclass
class Stack:
    """The aggregator's surroundings under a prefix of its own, and the processes of a test."""

    ports: AwsPorts
    environment: dict[str, str]
    folder: Path
    processes: list[Process] = field(default_factory=list)

    def start(self, name: str, **settings: str) -> Process:
        log = self.folder / f"{name}-{len(self.processes)}.log"
        process = Process(name, {**self.environment, **settings}, log)
        self.processes.append(process)
        return process

    def rows(self, layout: Layout = LAYOUT) -> RoundRows[DynamoRunStore, S3ModelStore]:
        return RoundRows(self.ports.run_store, self.ports.model_store, layout)

    def submitted(self, *clients: str) -> None:
        """Publish what the gateway publishes."""
        self.ports.publish("rondo/gateway")(
            *(
                UpdateSubmitted(
                    event_id=f"UpdateSubmitted/run-1/1/1/{client}",
                    run_id="run-1",
                    occurred_at=self.rows().clock.now(),
                    round=1,
                    attempt=1,
                    client_id=client,
                    sha256="0" * 64,
                )
                for client in clients
            )
        )

    def sealed(self, manifest: str) -> None:
        """Publish what the dispatcher publishes."""
        self.ports.publish("rondo/dispatcher")(
            RoundSealed(
                event_id="RoundSealed/run-1/1/1",
                run_id="run-1",
                occurred_at=self.rows().clock.now(),
                round=1,
                attempt=1,
                manifest=manifest,
                updates=3,
            )
        )

    def heard(self) -> set[str]:
        """Return the names of what the dispatcher's queue holds, each event once."""
        source, events = self.ports.event_source("dispatcher"), set[str]()
        while deliveries := source.receive(wait_seconds=1):
            events |= {decode_event(delivery.body).event_id for delivery in deliveries}
            source.acknowledge(deliveries)
        return events


@contextmanager
def aggregator_stack(aws: Aws, redis_url: str, folder: Path) -> Iterator[Stack]:
    """Make queues, table and bucket; kill at the end what a test left running."""
    prefix = f"a{secrets.token_hex(4)}"
    settings = AwsSettings(
        aws_endpoint_url=aws.endpoint_url, aws_region=aws.region, rondo_prefix=prefix
    )
    bootstrap(settings)
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONUNBUFFERED": "1",
        **aws.environment,
        "REDIS_URL": redis_url,
        "RONDO_PREFIX": prefix,
        "LEASE_SECONDS": "1.5",
        "CACHE_FOLDER": str(folder),
    }
    stack = Stack(connect(settings), environment, folder)
    try:
        yield stack
    finally:
        for process in stack.processes:
            process.kill()


def recomputed(rows: RoundRows[DynamoRunStore, S3ModelStore], manifest: Manifest) -> Float32Array:
    """Work the round out again from the raw uploads, in plain NumPy."""
    total, weight = np.zeros(rows.layout.size, np.float64), 0
    for entry in manifest.updates:
        delta = decode(rows.models.get(entry.key), rows.layout)
        total += np.float64(entry.examples) * delta.astype(np.float64)
        weight += entry.examples
    return (rows.base.astype(np.float64) + total / weight).astype(np.float32)
