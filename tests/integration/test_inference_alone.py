"""A server alone on a folder, over real sockets, asked by other people's clients as they come."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub
from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode
from websockets.sync.client import connect

from rondo_inference.contracts import oip_pb2 as pb
from rondo_inference.registry.standing_back import NOBODY_WAITS
from rondo_local.environments import checkout, ensure_virtual
from rondo_local.readiness import free_port
from tests.unit.rondo_inference.exported import homes_export, sample_folder, write_version

CLIENTS = Path(__file__).parent / "clients"
SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Alone:
    """A server on a folder.

    Attributes:
        process: the server.
        http: its address.
        grpc: its other address.
        first_answer_seconds: from starting the process to its first prediction.
    """

    process: "subprocess.Popen[bytes]"
    http: str
    grpc: str
    first_answer_seconds: float

    @property
    def port(self) -> int:
        return int(self.http.rpartition(":")[2])


def ask(port: int, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)) as connection:
        connection.request(method, path, body)
        response = connection.getresponse()
        return response.status, response.read()


def start(
    folder: Path, *, model: str = "floats", body: bytes = b'{"instances": [[1.5]]}', **environ: str
) -> Alone:
    """Start a server; return when a model answered."""
    port, grpc_port = free_port(), free_port()
    began = time.monotonic()
    process = subprocess.Popen(
        [
            str(Path(sys.executable).parent / "rondo-inference"),
            *("serve", "--models", str(folder)),
            *("--port", str(port), "--grpc-port", str(grpc_port)),
        ],
        env={"PATH": os.environ["PATH"], "ORT_DISABLE_TELEMETRY": "1", **environ},
    )
    deadline, status = began + SECONDS, 0
    while status != 200:
        assert time.monotonic() < deadline
        try:
            status, _ = ask(port, "POST", f"/v1/models/{model}:predict", body)
        except OSError:
            time.sleep(0.01)
    seconds = time.monotonic() - began
    while ask(port, "GET", "/readyz")[0] != 200:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return Alone(process, f"127.0.0.1:{port}", f"127.0.0.1:{grpc_port}", seconds)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Alone]:
    models = sample_folder(tmp_path_factory.mktemp("models"))
    write_version(homes_export(), models)
    found = start(
        models,
        HEADER_SECONDS="1",
        BODY_SECONDS="1",
        WRITE_SECONDS="1",
    )
    yield found
    found.process.terminate()
    found.process.wait(timeout=SECONDS)


def run_client(name: str, server: Alone) -> list[str]:
    folder = checkout() / "build" / "clients" / name
    python = ensure_virtual(CLIENTS / f"{name}.txt", folder)
    program = CLIENTS / f"with_{name}.py"
    done = subprocess.run(
        [str(python), str(program), server.http, server.grpc],
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_oip_7_tritonclient_asks_over_http_and_grpc_sync_and_aio(alone: Alone) -> None:
    assert run_client("tritonclient", alone) == ["http", "grpc", "http aio", "grpc aio"]


def test_oip_7_kserves_client_asks_over_rest_and_grpc(alone: Alone) -> None:
    assert run_client("kserve", alone) == ["rest v2", "rest v1", "grpc"]


@pytest.mark.parametrize(
    ("service", "code"),
    [
        ("", grpc.StatusCode.OK),
        ("inference.GRPCInferenceService", grpc.StatusCode.OK),
        ("other", grpc.StatusCode.NOT_FOUND),
    ],
)
def test_oip_7_the_standard_health_service_answers(
    alone: Alone, service: str, code: grpc.StatusCode
) -> None:
    with grpc.insecure_channel(alone.grpc) as channel:
        check = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        request = health_pb2.HealthCheckRequest(service=service)
        try:
            found = check.with_call(request)[1].code()
        except grpc.RpcError as exc:
            found = exc.code()

    assert found is code


@pytest.mark.parametrize("size", [1, 100_000])
def test_oip_7_what_is_no_message_is_told_so_and_the_channel_goes_on(
    alone: Alone, size: int
) -> None:
    request = pb.ModelReadyRequest(name="floats").SerializeToString()
    with grpc.insecure_channel(alone.grpc) as channel:
        infer, ready = (
            channel.unary_unary(
                f"/inference.GRPCInferenceService/{name}",
                request_serializer=bytes,
                response_deserializer=pb.ModelReadyResponse.FromString,
            )
            for name in ("ModelInfer", "ModelReady")
        )
        with pytest.raises(grpc.RpcError) as refused:
            infer(b"\xff" * size)
        answer = ready(request)

    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert refused.value.details() == "the message is no ModelInferRequest"
    assert answer.ready


def test_sm_9_the_library_websockets_streams_and_is_told_the_end(tmp_path: Path) -> None:
    server = start(sample_folder(tmp_path))
    url = f"ws://{server.http}/invocations-bidirectional-stream?model=floats"
    large = json.dumps({"instances": [[number] for number in range(200_000)]})
    with connect(url, max_size=None, open_timeout=SECONDS) as stream:
        for number in range(3):
            stream.send(json.dumps({"instances": [[number]]}))
        stream.send(large.encode())
        answers = [json.loads(stream.recv(timeout=SECONDS))["predictions"] for _ in range(4)]
        pong = stream.ping().wait(SECONDS)
        server.process.send_signal(signal.SIGTERM)
        with pytest.raises(ConnectionClosed) as closed:
            stream.recv(timeout=SECONDS)

    assert [answer[0] for answer in answers] == [[0], [1], [2], [0]]
    assert (len(answers[3]), pong) == (200_000, True)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == CloseCode.GOING_AWAY
    assert server.process.wait(timeout=SECONDS) == 0


@pytest.mark.parametrize("hosts", [b"", b"Host: a\r\nHost: b\r\n"])
def test_a_request_without_host_or_with_two_is_refused(alone: Alone, hosts: bytes) -> None:
    with closing(socket.create_connection(("127.0.0.1", alone.port), timeout=SECONDS)) as caller:
        caller.sendall(b"GET /ping HTTP/1.1\r\n" + hosts + b"\r\n")
        answer = b""
        while part := caller.recv(4096):
            answer += part

    assert answer.startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    "sent",
    [
        b"POST /invocations HT",
        b"POST /invocations HTTP/1.1\r\nHost: x\r\nX-Slow: 1\r\n",
        b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{",
    ],
)
def test_who_sends_too_slowly_is_told_and_cut_off(alone: Alone, sent: bytes) -> None:
    with closing(socket.create_connection(("127.0.0.1", alone.port), timeout=SECONDS)) as slow:
        slow.sendall(sent)
        answer = b""
        while part := slow.recv(4096):
            answer += part

    assert answer.startswith(b"HTTP/1.1 408 ")


def test_who_holds_all_connections_with_slow_bodies_keeps_nobody_out(tmp_path: Path) -> None:
    """What slowhttptest does, with as many again as the server takes."""
    server = start(sample_folder(tmp_path), MAX_CONNECTIONS="8")
    slow = b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{"
    answers = []

    with ExitStack() as held:
        held.callback(server.process.wait, timeout=SECONDS)
        held.callback(server.process.terminate)
        for _ in range(16):
            one = socket.create_connection(("127.0.0.1", server.port), timeout=SECONDS)
            held.enter_context(closing(one)).sendall(slow)
            body = b'{"instances": [[1.5]]}'
            answers.append(ask(server.port, "POST", "/v1/models/floats:predict", body)[0])

    assert answers == [200] * 16


def test_what_is_promoted_is_loaded_when_no_request_needs_the_cpu(alone: Alone) -> None:
    """Its own thread is the one that stands back; the fields of proc(5) begin after the name."""
    threads = Path(f"/proc/{alone.process.pid}/task").glob("*/stat")
    niceness = [int(file.read_text("utf-8").rpartition(")")[2].split()[16]) for file in threads]

    assert niceness.count(NOBODY_WAITS) == 1
    assert os.getpriority(os.PRIO_PROCESS, alone.process.pid) < NOBODY_WAITS


def test_sigterm_ends_it_well(tmp_path: Path) -> None:
    server = start(sample_folder(tmp_path))

    server.process.send_signal(signal.SIGTERM)

    assert server.process.wait(timeout=SECONDS) == 0


def test_oip_7_who_watches_the_health_is_told_of_the_drain_and_of_the_end(tmp_path: Path) -> None:
    server, told = start(sample_folder(tmp_path), DRAIN_SECONDS="2"), []

    with grpc.insecure_channel(server.grpc) as channel:
        health: Any = HealthStub(channel)
        stream = health.Watch(health_pb2.HealthCheckRequest(), timeout=SECONDS)
        told.append(next(stream).status)
        server.process.send_signal(signal.SIGTERM)
        told.append(next(stream).status)
        drains = ask(server.port, "GET", "/v2/health/live")[0]
        with pytest.raises(grpc.RpcError) as ended:
            next(stream)

    assert told == [
        health_pb2.HealthCheckResponse.SERVING,
        health_pb2.HealthCheckResponse.NOT_SERVING,
    ]
    assert drains == 200
    assert ended.value.code() is grpc.StatusCode.UNAVAILABLE
    assert server.process.wait(timeout=SECONDS) == 0


ESTABLISHED = "01"
LARGE = b'{"instances": [' + b"[1.5]," * 1_500_000 + b"[1.5]]}"


def ask_and_take_nothing(port: int) -> socket.socket:
    """Ask for more than all buffers hold, and read none of it."""
    caller = socket.socket()
    caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    caller.settimeout(SECONDS)
    caller.connect(("127.0.0.1", port))
    head = f"POST /v1/models/floats:predict HTTP/1.1\r\nHost: x\r\nContent-Length: {len(LARGE)}"
    caller.sendall(head.encode() + b"\r\n\r\n" + LARGE)
    return caller


def under_way(port: int) -> int:
    """Return how many bytes of answers wait in open sockets of the server (proc_net_tcp(5))."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    mine = [row for row in rows if row[1].endswith(f":{port:04X}") and row[3] == ESTABLISHED]
    return max((int(row[4].partition(":")[0], 16) for row in mine), default=0)


def until_answered(port: int) -> None:
    deadline = time.monotonic() + SECONDS
    while not under_way(port):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_who_takes_nothing_of_its_answer_is_cut_off(alone: Alone) -> None:
    with closing(ask_and_take_nothing(alone.port)) as caller:
        until_answered(alone.port)
        deadline = time.monotonic() + SECONDS
        while under_way(alone.port):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        taken = sum(len(part) for part in iter(partial(caller.recv, 65536), b""))

    assert taken < len(LARGE)


def test_who_takes_nothing_does_not_hold_up_the_end(tmp_path: Path) -> None:
    server = start(sample_folder(tmp_path))

    with closing(ask_and_take_nothing(server.port)):
        until_answered(server.port)
        server.process.send_signal(signal.SIGTERM)
        before_requests_are_cut_off = 15

        assert server.process.wait(timeout=before_requests_are_cut_off) == 0


def test_numbers_beyond_bounds_are_refused_or_told_by_a_server_on_a_folder(tmp_path: Path) -> None:
    write_version(homes_export(), tmp_path)
    alone = start(tmp_path, model="homes", body=b'{"instances": [[3, 20]]}')
    try:
        with closing(http.client.HTTPConnection("127.0.0.1", alone.port, timeout=SECONDS)) as line:
            path = "/v1/models/homes:predict"
            line.request("POST", path, b'{"instances": [[3, 9]]}')
            warned = line.getresponse()
            answer = warned.read()
            line.request("POST", path, b'{"instances": [[3, 20], [44, 20]]}')
            refused = line.getresponse()
            reason = refused.read()
    finally:
        alone.process.terminate()
        alone.process.wait(SECONDS)

    assert (warned.status, answer) == (200, b'{"predictions":[[94.0]]}')
    assert "below minimum 10.0" in str(warned.headers["X-Rondo-Warnings"])
    assert refused.status == 400
    assert b"row 1, column 'rooms': 44.0 is above maximum 9.5" in reason
