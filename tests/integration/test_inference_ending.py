"""Who was connected when the listener is closed is answered, not reset."""

import asyncio
import signal
import socket
import threading
from collections.abc import Iterator

import pytest
import uvloop

from rondo_core.testing import ManualClock
from rondo_inference.web.connection import Connection
from rondo_inference.web.server import DrainingServer
from rondo_inference.web.shared import ConnectionRules, Shared
from tests.unit.rondo_inference.asked import Service, head, running

SECONDS = 60.0
REQUEST = head("GET", "/v2", {})


@pytest.fixture
def service() -> Iterator[Service]:
    with running() as found:
        yield found


def read(caller: socket.socket) -> bytes:
    answer = b""
    while piece := caller.recv(65536):
        answer += piece
    return answer


def test_who_waits_to_be_accepted_when_the_server_ends_is_answered(service: Service) -> None:
    clock, callers = ManualClock(), [socket.socket() for _ in range(3)]
    server = DrainingServer(
        service.app, ConnectionRules(), "127.0.0.1", 0, threading.Event(), 5, clock
    )

    def begin(port: int) -> None:
        """Hold up the loop, which accepts nobody meanwhile, until it has to end."""
        for caller in callers:
            caller.settimeout(SECONDS)
            caller.connect(("127.0.0.1", port))
            caller.sendall(REQUEST)
        server.signalled(signal.SIGINT)

    server.run_until_signalled(begin)
    answers = [read(caller) for caller in callers]
    for caller in callers:
        caller.close()

    assert [answer.partition(b"\r\n")[0] for answer in answers] == [b"HTTP/1.1 200 OK"] * 3
    assert [b"\r\nconnection: close\r\n" in answer.lower() for answer in answers] == [True] * 3


def test_a_connection_whose_next_request_nobody_read_yet_is_not_idle(service: Service) -> None:
    idle = []

    async def run() -> None:
        loop = asyncio.get_running_loop()
        shared = Shared(service.app, ConnectionRules(), lambda: False, loop.time)
        ours, theirs = socket.socketpair()
        with theirs:
            theirs.settimeout(0)
            _, connection = await loop.connect_accepted_socket(lambda: Connection(shared), ours)
            await loop.sock_sendall(theirs, REQUEST)
            assert (await loop.sock_recv(theirs, 65536)).startswith(b"HTTP/1.1 200 OK")
            idle.append(connection.is_idle)
            theirs.send(REQUEST)  # and the loop has no turn to read it
            idle.append(connection.is_idle)
            assert (await loop.sock_recv(theirs, 65536)).startswith(b"HTTP/1.1 200 OK")
            idle.append(connection.is_idle)

    uvloop.run(asyncio.wait_for(run(), SECONDS))

    assert idle == [True, False, True]
