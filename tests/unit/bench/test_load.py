"""The load generator, against servers that answer at once, late, wrongly or not at all."""

import os
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from bench.inference.measuring import Measured, load
from rondo_local.readiness import free_port

REQUEST = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
RATE, SECONDS = 200.0, 0.5


class Server(socketserver.ThreadingTCPServer):
    """Answers requests; the first one late, or alone, where it is told to."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, *, stall: float = 0.0, status: int = 200, leaves: bool = False) -> None:
        self.stall, self.status, self.leaves = stall, status, leaves
        self.first = threading.Lock()
        self.asked = 0
        super().__init__(("127.0.0.1", 0), Handler)


class Handler(socketserver.StreamRequestHandler):
    server: Server

    def handle(self) -> None:
        while True:
            while (line := self.rfile.readline()) not in {b"\r\n", b""}:
                pass
            if not line:
                return
            with self.server.first:
                self.server.asked += 1
                number = self.server.asked
            if self.server.leaves and number > 1:
                return
            if number == 1:
                time.sleep(self.server.stall)
            self.wfile.write(b"HTTP/1.1 %d X\r\ncontent-length: 2\r\n\r\nok" % self.server.status)


@contextmanager
def serving(**options: float | bool) -> Iterator[int]:
    with Server(**options) as server:  # type: ignore[arg-type]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield int(server.server_address[1])
        server.shutdown()


def loaded(port: int, connections: int, rate: float = 0.0) -> Measured:
    return load(port, os.getpid(), REQUEST, connections, SECONDS, rate=rate)


@pytest.mark.parametrize("connections", [1, 4])
def test_with_a_rate_so_many_requests_are_sent_whatever_the_server_takes(connections: int) -> None:
    with serving(stall=0.3) as port:
        found = loaded(port, connections, RATE)

    assert abs(found["requests"] - RATE * SECONDS) <= 1
    assert found["errors"] == 0


def test_with_a_rate_a_stop_counts_for_all_that_were_due_meanwhile() -> None:
    with serving(stall=0.4) as port:
        found = loaded(port, 1, RATE)

    assert found["p50_us"] > 50_000
    assert found["max_us"] > 300_000


def test_one_connection_that_waits_does_not_keep_requests_from_the_others() -> None:
    with serving(stall=0.4) as port:
        alone = loaded(port, 1, RATE)
    with serving(stall=0.4) as port:
        beside = loaded(port, 4, RATE)

    assert beside["p50_us"] < alone["p50_us"]


def test_without_a_rate_each_connection_asks_again_when_it_has_its_answer() -> None:
    with serving() as port:
        found = loaded(port, 2)

    assert found["requests"] > 2
    assert found["errors"] == 0


@pytest.mark.parametrize("rate", [0.0, RATE])
def test_answers_that_are_errors_are_counted(rate: float) -> None:
    with serving(status=503) as port:
        found = loaded(port, 2, rate)

    assert found["errors"] == found["requests"] > 0


@pytest.mark.parametrize("rate", [0.0, RATE])
def test_connections_that_are_lost_are_counted(rate: float) -> None:
    with serving(leaves=True) as port:
        found = loaded(port, 2, rate)

    assert (found["requests"], found["errors"]) == (1, 2)


def test_where_nobody_listens_the_reason_is_told() -> None:
    port = free_port()

    with pytest.raises(SystemExit, match=rf"(?s)the load on port {port} ended: .*refused"):
        loaded(port, 2)


def test_where_no_answer_comes_that_is_told() -> None:
    with serving(leaves=True) as port:
        loaded(port, 1)  # which has the only answer

        with pytest.raises(SystemExit, match="no answer came on 2 connections, of which 2 failed"):
            loaded(port, 2)
