"""Waits until a program answers, and says what it printed when it does not."""

import http.client
import itertools
import os
import socket
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

from rondo_core.errors import Unavailable
from rondo_local.processes import Supervisor

__all__ = ["NotReady", "await_ready", "free_port", "http_answers", "redis_answers"]

_POLL_SECONDS = 0.05
_PROBE_SECONDS = 2.0
_LOG_LINES = 20

_PORTS = range(20_000, 32_768)
"""Linux gives outgoing connections ports from 32768 on, other systems from 49152 on: one of those
may be taken while a program that is to listen there starts, for as long as the connection lasts."""
_PORTS_EACH = 97
"""Processes of neighbouring numbers begin so far apart."""
_turns = itertools.count()
"""So that nothing is given twice by one process."""


class NotReady(Unavailable):
    """A program did not become ready.

    Attributes:
        name: the program's name.
        reason: what was waited for, in words.
        log_tail: the last lines that it printed.
    """

    def __init__(self, name: str, reason: str, log_tail: str) -> None:
        super().__init__(f"{name} {reason}; its log ends:\n{log_tail}")
        self.name = name
        self.reason = reason
        self.log_tail = log_tail


def await_ready(
    name: str, probe: Callable[[], bool], supervisor: Supervisor, deadline_seconds: float = 120.0
) -> None:
    """Block until the probe says yes.

    Args:
        name: a program that the supervisor keeps.
        probe: whether the program answers; asked again and again, so it must not raise.
        supervisor: knows whether the program has ended, and where its log is.
        deadline_seconds: generous, since machines are busy; the wait ends as soon as it may.

    Raises:
        NotReady: the deadline passed, or the program ended and is not to be started again.
    """
    deadline = time.monotonic() + deadline_seconds
    while not probe():
        if name in supervisor.ended():
            raise NotReady(name, "ended before it was ready", _tail(supervisor.log_path(name)))
        if time.monotonic() > deadline:
            reason = f"was not ready after {deadline_seconds:g} s"
            raise NotReady(name, reason, _tail(supervisor.log_path(name)))
        time.sleep(_POLL_SECONDS)


def http_answers(url: str) -> Callable[[], bool]:
    """Probe: a GET of the address succeeds."""

    def probe() -> bool:
        try:
            with urllib.request.urlopen(url, timeout=_PROBE_SECONDS):  # noqa: S310 - our own address
                return True
        except (OSError, http.client.HTTPException):
            return False

    return probe


def redis_answers(port: int, password: str) -> Callable[[], bool]:
    """Probe: the Redis on this loopback port takes the password and answers PING."""

    def probe() -> bool:
        try:
            with socket.create_connection(("127.0.0.1", port), _PROBE_SECONDS) as connection:
                connection.sendall(f"AUTH {password}\r\nPING\r\n".encode())
                answers = connection.makefile("rb")
                return [answers.readline(), answers.readline()] == [b"+OK\r\n", b"+PONG\r\n"]
        except OSError:
            return False

    return probe


def free_port(wanted: int = 0) -> int:
    """A loopback port that nobody listens on, and that no outgoing connection will be given.

    Args:
        wanted: taken if it is free; 0 wants none.

    Raises:
        Unavailable: all are taken.
    """
    if wanted and _is_free(wanted):
        return wanted
    for _ in _PORTS:
        port = _PORTS[(os.getpid() * _PORTS_EACH + next(_turns)) % len(_PORTS)]
        if _is_free(port):
            return port
    raise Unavailable(f"no loopback port from {_PORTS[0]} to {_PORTS[-1]} is free")


def _is_free(port: int) -> bool:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-_LOG_LINES:])
