import signal
import threading

from rondo_core.testing import ManualClock
from rondo_inference.web.server import DrainingServer
from rondo_inference.web.shared import ConnectionRules
from tests.unit.rondo_inference.asked import running


def server(clock: ManualClock) -> DrainingServer:
    with running() as service:
        return DrainingServer(
            service.app,
            ConnectionRules(),
            "127.0.0.1",
            0,
            threading.Event(),
            5,
            clock,
        )


def test_without_a_signal_the_server_goes_on() -> None:
    one = server(ManualClock())

    assert (one.draining.is_set(), one.ends) == (False, False)


def test_sigterm_starts_the_drain_and_ends_the_server_after_it() -> None:
    clock = ManualClock()
    one = server(clock)

    one.signalled(signal.SIGTERM)
    draining, at_once = one.draining.is_set(), one.ends
    clock.advance(4.9)
    a_little_before = one.ends
    clock.advance(0.2)

    assert (draining, at_once, a_little_before, one.ends) == (True, False, False, True)


def test_a_second_signal_ends_the_server_at_once() -> None:
    one = server(ManualClock())

    one.signalled(signal.SIGTERM)
    one.signalled(signal.SIGTERM)

    assert one.ends


def test_an_interrupt_does_not_wait() -> None:
    one = server(ManualClock())

    one.signalled(signal.SIGINT)

    assert (one.draining.is_set(), one.ends) == (True, True)
