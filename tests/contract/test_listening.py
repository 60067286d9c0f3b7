"""Where nobody can listen is said in our words, whoever wanted to."""

import socket
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from rondo_core.errors import Invalid, RondoError, Unavailable
from rondo_core.health import Health, serve_health
from rondo_core.listening import close_listeners, listening, open_listeners
from rondo_core.settings import ServiceSettings
from rondo_core.telemetry import Metrics


def close(listeners: tuple[socket.socket, ...]) -> None:
    for listener in listeners:
        listener.close()


def listen(host: str, port: int) -> None:
    close(open_listeners(host, port, backlog=1))


def answer_health(host: str, port: int) -> None:
    serve_health(ServiceSettings(health_host=host, health_port=port), Health(), Metrics())


LISTENERS = pytest.mark.parametrize("start", [listen, answer_health])


@pytest.fixture
def taken() -> Iterator[int]:
    with closing(socket.create_server(("127.0.0.1", 0))) as other:
        yield other.getsockname()[1]


@LISTENERS
def test_a_port_in_use_may_be_free_later(start: Callable[[str, int], None], taken: int) -> None:
    with pytest.raises(Unavailable) as caught:
        start("127.0.0.1", taken)

    assert str(caught.value) == f"cannot listen on 127.0.0.1:{taken}: Address already in use"


@LISTENERS
@pytest.mark.parametrize("host", ["nowhere.invalid", "192.0.2.1"])
def test_a_host_that_is_not_here_will_not_be(start: Callable[[str, int], None], host: str) -> None:
    with pytest.raises(RondoError, match=f"cannot listen on {host}:8080: "):
        start(host, 8080)


def test_a_host_that_does_not_exist_is_a_wrong_setting() -> None:
    with pytest.raises(Invalid, match="not known"), listening("nowhere.invalid", 80):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


def test_a_name_server_that_does_not_answer_may_answer_later() -> None:
    with pytest.raises(Unavailable, match="failure"), listening("name.example", 80):
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")


def test_an_address_of_ipv6_is_shown_in_brackets() -> None:
    text = r"cannot listen on \[::1\]:80: Permission denied"
    with pytest.raises(Invalid, match=text), listening("::1", 80):
        raise PermissionError(13, "Permission denied")


def test_all_addresses_of_a_name_get_the_same_free_port() -> None:
    listeners = open_listeners("localhost", 0, backlog=1)
    ports = {listener.getsockname()[1] for listener in listeners}
    close(listeners)

    assert len(ports) == 1
    assert 0 not in ports


def test_an_address_that_this_machine_lacks_is_left_out_of_a_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kind = (socket.SOCK_STREAM, socket.IPPROTO_TCP, "")
    addresses = [("192.0.2.1", 0), ("127.0.0.1", 0)]
    found = [(socket.AF_INET, *kind, place) for place in addresses]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)

    listeners = open_listeners("name.example", 0, backlog=1)
    hosts = [listener.getsockname()[0] for listener in listeners]
    close(listeners)

    assert hosts == ["127.0.0.1"]


def test_connections_that_wait_outlive_their_listeners() -> None:
    listeners = open_listeners("127.0.0.1", 0, backlog=8)
    place = listeners[0].getsockname()
    callers = [socket.create_connection(place) for _ in range(3)]
    for number, caller in enumerate(callers):
        caller.sendall(b"%d" % number)

    waiting = close_listeners(listeners)

    assert [one.recv(10) for one in waiting] == [b"0", b"1", b"2"]
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(place)
    for one in (*waiting, *callers):
        one.close()


def test_listeners_on_which_nobody_waits_are_closed() -> None:
    listeners = open_listeners("127.0.0.1", 0, backlog=8)

    assert close_listeners(listeners) == []
    assert [listener.fileno() for listener in listeners] == [-1]
