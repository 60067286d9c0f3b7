"""Unit tests reach no network, not even loopback."""

import socket
from typing import NoReturn

import pytest


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_connection: socket.socket, address: object) -> NoReturn:
        pytest.fail(f"a unit test connects to {address!r}; it belongs in another tier")

    monkeypatch.setattr(socket.socket, "connect", refuse)
