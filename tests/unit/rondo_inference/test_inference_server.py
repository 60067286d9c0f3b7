import asyncio
import signal
import socket
import threading
from collections.abc import Iterator

import pytest

from rondo_core.testing import ManualClock
from rondo_inference.web.server import DrainingServer
from tests.unit.rondo_inference.asked import running


@pytest.fixture(autouse=True)
def _signal_handlers() -> Iterator[None]:
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


class SignalledServer(DrainingServer):
    """Gets signals instead of requests, and looks at the time after each."""

    def __init__(self, *numbers: signal.Signals) -> None:
        self.draining = threading.Event()
        self.clock = ManualClock()
        self.numbers = numbers
        with running() as service:
            super().__init__(
                service.app,
                host="127.0.0.1",
                port=0,
                draining=self.draining,
                drain_seconds=5,
                clock=self.clock,
            )
        self.config.load()

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        assert sockets is None
        for number in self.numbers:
            signal.raise_signal(number)

    def ends(self) -> bool:
        return asyncio.run(self.on_tick(1))


def test_without_a_signal_the_server_goes_on() -> None:
    server = SignalledServer()

    server.run_until_signalled()

    assert (server.draining.is_set(), server.ends()) == (False, False)


def test_sigterm_starts_the_drain_and_ends_the_server_after_it() -> None:
    server = SignalledServer(signal.SIGTERM)

    server.run_until_signalled()
    draining, at_once = server.draining.is_set(), server.ends()
    server.clock.advance(4.9)
    a_little_before = server.ends()
    server.clock.advance(0.2)

    assert (draining, at_once, a_little_before, server.ends()) == (True, False, False, True)


def test_a_second_signal_ends_the_server_at_once() -> None:
    server = SignalledServer(signal.SIGTERM, signal.SIGTERM)

    server.run_until_signalled()

    assert server.ends()


def test_an_interrupt_does_not_wait() -> None:
    server = SignalledServer(signal.SIGINT)

    server.run_until_signalled()

    assert (server.draining.is_set(), server.ends()) == (True, True)
