"""Two inference processes over real HTTP, following alias rows in an AWS emulator."""

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from rondo_core.aws import AwsPorts, connect
from rondo_core.settings import AwsSettings
from rondo_local.bootstrap import bootstrap
from rondo_local.processes import Program, Supervisor
from rondo_local.readiness import await_ready, free_port, http_answers
from tests.emulators import Aws
from tests.unit.rondo_inference.exported import Export, prices_export

ROW = json.dumps({"instances": [[0, "Aa"]]}).encode()
SECONDS = 30.0
PREFIX = "inference"


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def ask(
    port: int,
    method: str = "POST",
    path: str = "/invocations",
    body: bytes | None = ROW,
    connection: http.client.HTTPConnection | None = None,
) -> Reply:
    """Send one request, on a connection of its own if none is given."""
    used = connection or http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
    used.request(method, path, body if method == "POST" else None)
    response = used.getresponse()
    headers = {name.lower(): value for name, value in response.getheaders()}
    reply = Reply(response.status, headers, response.read())
    if connection is None:
        used.close()
    return reply


def eventually(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def environment(aws: Aws, port: int, **more: str) -> dict[str, str]:
    return {
        **aws.environment,
        "PATH": os.environ["PATH"],
        "RONDO_PREFIX": PREFIX,
        "PORT": str(port),
        "MODEL_REFRESH_SECONDS": "0.1",
        "MAX_BODY_BYTES": "8000000",
        "DRAIN_SECONDS": "0.5",
        "ORT_DISABLE_TELEMETRY": "1",
        **more,
    }


@dataclass(frozen=True, slots=True)
class Replicas:
    ports: AwsPorts
    at: tuple[int, ...]

    def promote(self, export: Export) -> None:
        export.store(self.ports.model_store)
        export.promote(self.ports.run_store)

    def versions(self) -> set[str | None]:
        return {ask(port).headers.get("x-rondo-version") for port in self.at}

    def follow(self, version: int) -> None:
        eventually(
            lambda: self.versions() == {str(version)}, f"{self.versions()}, not only {version}"
        )


@pytest.fixture(scope="module")
def replicas(ministack: Aws, supervisor: Supervisor) -> Iterator[Replicas]:
    settings = AwsSettings(
        aws_endpoint_url=ministack.endpoint_url, aws_region=ministack.region, rondo_prefix=PREFIX
    )
    bootstrap(settings, session=ministack.session)
    found = Replicas(connect(settings, ministack.session), (free_port(), free_port()))
    found.promote(prices_export(1))
    names = [f"inference-{port}" for port in found.at]
    for name, port in zip(names, found.at, strict=True):
        argv = (sys.executable, "-m", "rondo_inference.main")
        supervisor.start(Program(name, argv, environment(ministack, port)))
    for name, port in zip(names, found.at, strict=True):
        await_ready(name, http_answers(f"http://127.0.0.1:{port}/readyz"), supervisor)
    yield found
    for name in names:
        supervisor.stop(name)


def test_a_ready_replica_has_loaded_the_champion(replicas: Replicas) -> None:
    assert {ask(port, "GET", "/ping").status for port in replicas.at} == {200}
    assert replicas.versions() == {"1"}
    assert ask(replicas.at[0]).json == {"predictions": [[1]]}


def test_both_replicas_follow_a_promotion_and_refuse_a_bad_one(replicas: Replicas) -> None:
    replicas.promote(prices_export(2))
    replicas.follow(2)

    replicas.promote(prices_export(3).with_file("model.onnx", b"not a model"))
    for port in replicas.at:
        eventually(
            lambda port=port: b'"END"' in ask(port, "GET", "/v1/models/prices").body,  # type: ignore[misc]
            "the bad version was never tried",
        )
    during = replicas.versions()
    replicas.promote(prices_export(4))
    replicas.follow(4)

    assert during == {"2"}
    metrics = ask(replicas.at[0], "GET", "/metrics").body
    assert b'rondo_load_failures_total{kind="prices",outcome="error"} 1.0' in metrics


def test_twenty_promotions_under_load_lose_no_request_and_mix_no_versions(
    replicas: Replicas,
) -> None:
    stop = threading.Event()
    seen: list[list[tuple[int, str | None, float]]] = [[] for _ in range(4)]

    def hammer(port: int, answers: list[tuple[int, str | None, float]]) -> None:
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)) as kept:
            while not stop.is_set():
                reply = ask(port, connection=kept)
                value = reply.json["predictions"][0][0] if reply.status == 200 else -1
                answers.append((reply.status, reply.headers.get("x-rondo-version"), value))

    threads = [
        threading.Thread(target=hammer, args=(replicas.at[number % 2], answers))
        for number, answers in enumerate(seen)
    ]
    for thread in threads:
        thread.start()
    for version in range(5, 25):
        replicas.promote(prices_export(version))
        replicas.follow(version)
    stop.set()
    for thread in threads:
        thread.join()

    answers = [answer for one in seen for answer in one]
    assert {status for status, _, _ in answers} == {200}
    assert [answer for answer in answers if answer[1] != str(int(answer[2]))] == []
    assert {int(version or 0) for _, version, _ in answers} >= set(range(5, 25))


def test_a_body_over_the_limit_is_refused_over_the_wire(replicas: Replicas) -> None:
    reply = ask(replicas.at[0], body=b" " * 8_000_001)

    assert reply.status == 413
    assert reply.json == {"error": "the body is longer than 8000000 bytes"}


def test_health_is_answered_while_a_large_request_is_computed(replicas: Replicas) -> None:
    body = json.dumps({"instances": [[1, "Aa"]] * 300_000}).encode()
    large: list[Reply] = []
    thread = threading.Thread(target=lambda: large.append(ask(replicas.at[0], body=body)))

    thread.start()
    times = []
    while thread.is_alive():
        start = time.monotonic()
        assert ask(replicas.at[0], "GET", "/ping").status == 200
        times.append(time.monotonic() - start)

    assert large[0].status == 200
    assert len(large[0].json["predictions"]) == 300_000
    assert max(times) < 2  # SageMaker's patience with a ping


def start_alone(aws: Aws, log: Path, **more: str) -> tuple["subprocess.Popen[bytes]", int]:
    port = free_port()
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "rondo_inference.main"],
            env=environment(aws, port, **more),
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    alive = http_answers(f"http://127.0.0.1:{port}/healthz")
    eventually(alive, "the process does not answer")
    return process, port


def test_sigterm_says_not_ready_then_answers_what_is_under_way_and_ends_well(
    replicas: Replicas, ministack: Aws, tmp_path: Path
) -> None:
    replicas.promote(prices_export(30))
    process, port = start_alone(ministack, tmp_path / "log")
    eventually(lambda: ask(port, "GET", "/readyz").status == 200, "never ready")
    body = json.dumps({"instances": [[1, "Aa"]] * 300_000}).encode()
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)) as slow:
        slow.putrequest("POST", "/invocations")
        slow.putheader("Content-Length", str(len(body)))
        slow.endheaders(body[:1000])  # under way: the rest comes after the listener is closed

        start = time.monotonic()
        process.send_signal(signal.SIGTERM)
        eventually(lambda: ask(port, "GET", "/readyz").status == 503, "still ready")
        draining = ask(port)
        time.sleep(0.8)
        slow.send(body[1000:])
        response = slow.getresponse()
        answers = len(json.loads(response.read())["predictions"])
    code = process.wait(timeout=SECONDS)

    assert (draining.status, draining.headers["connection"]) == (200, "close")
    assert (response.status, answers) == (200, 300_000)
    assert (code, time.monotonic() - start < 30) == (0, True)
    assert "Traceback" not in (tmp_path / "log").read_text()


def test_without_the_store_a_replica_lives_and_is_not_ready(ministack: Aws, tmp_path: Path) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    process, port = start_alone(ministack, tmp_path / "log", AWS_ENDPOINT_URL=nowhere)

    try:
        eventually(lambda: "scan failed" in (tmp_path / "log").read_text(), "no scan was tried")
        statuses = [ask(port, "GET", path).status for path in ("/healthz", "/readyz", "/ping")]
        prediction = ask(port)
    finally:
        process.terminate()
        process.wait(timeout=SECONDS)

    assert statuses == [200, 503, 503]
    assert (prediction.status, prediction.json) == (503, {"error": "no model is served yet"})
