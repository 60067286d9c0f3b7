"""Waiting for a program, and what is said when it does not come."""

import socket
from contextlib import ExitStack
from pathlib import Path

import pytest

from rondo_local.processes import Program, Supervisor
from rondo_local.readiness import NotReady, await_ready, free_port

_PATH = {"PATH": "/usr/local/bin:/usr/bin:/bin"}


def test_the_wait_ends_as_soon_as_the_probe_says_yes(tmp_path: Path) -> None:
    answers = iter([False, False, True])

    with Supervisor(tmp_path) as supervisor:
        supervisor.start(Program("server", ("sleep", "60"), _PATH))
        await_ready("server", lambda: next(answers), supervisor)

    assert list(answers) == []


def test_a_program_that_ended_is_not_waited_for_and_its_log_is_quoted(tmp_path: Path) -> None:
    crash = ("sh", "-c", "echo port is taken; exit 1")

    with Supervisor(tmp_path) as supervisor:
        supervisor.start(Program("server", crash, _PATH, restart=False))
        with pytest.raises(NotReady) as raised:
            await_ready("server", lambda: False, supervisor)

    assert raised.value.reason == "ended before it was ready"
    assert raised.value.log_tail == "port is taken"


def test_a_program_that_stays_silent_is_given_up_at_the_deadline(tmp_path: Path) -> None:
    with Supervisor(tmp_path) as supervisor:
        supervisor.start(Program("server", ("sleep", "60"), _PATH))
        with pytest.raises(NotReady, match=r"server was not ready after 0\.1 s"):
            await_ready("server", lambda: False, supervisor, deadline_seconds=0.1)


def test_free_ports_can_be_listened_on_and_none_is_given_twice() -> None:
    ports = [free_port() for _ in range(20)]

    with ExitStack() as stack:
        for port in ports:
            stack.enter_context(socket.create_server(("127.0.0.1", port)))


def test_a_free_port_is_none_that_an_outgoing_connection_may_be_given() -> None:
    assert free_port() < 32_768  # where Linux begins


def test_a_wanted_port_is_given_if_it_is_free_and_another_one_if_not() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        taken = listener.getsockname()[1]

        instead = free_port(taken)

    assert instead != taken
    assert free_port(instead) == instead
