"""Become a client of a gateway: once by invite, ever after by the key that was kept."""

import hashlib
import os
import re
import socket
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path

import httpx

from rondo.client_calls import ClientCalls
from rondo.federation import Federation
from rondo.files import locked
from rondo.gateway_link import GatewayLink, checked_url, open_http
from rondo.home import Home, Identity, find_home, gateway_folder, home_root, plain_name
from rondo.keys import client_token, keep_key, public_bytes
from rondo.retry import Patience
from rondo.store_link import StoreLink
from rondo_core.client_wire import Enrolled, Enrolment
from rondo_core.clock import Clock, SystemClock

__all__ = ["connect"]

WORK_PATIENCE_SECONDS = 600.0
"""A gateway that is being replaced, or a laptop that slept, shall not end a run."""


def connect(
    url: str,
    invite: str | None = None,
    name: str | None = None,
    *,
    model: str | None = None,
    home: Path | str | None = None,
    transport: httpx.BaseTransport | None = None,
    clock: Clock | None = None,
) -> Federation:
    """Join a federation, or come back to it.

    The first time this makes a key, keeps it in a file that only you can read, and spends the
    invite; after that the invite is not needed, and naming it again changes nothing. Another
    invite to the same model enrols the same key once more, should the gateway have forgotten it.

    Args:
        url: the gateway's address, for example ``https://federation.example.org``.
        invite: the code that the operator gave you, ``MODEL.secret``.
        name: what you are called there; this machine's name if it is left out.
        model: which one, if you have joined several under the same name and give no invite.
        home: where key and unfinished work are kept; RONDO_HOME or ``~/.rondo`` if left out.
        transport: stands in for the network, as in HTTPX.
        clock: stands in for the time.

    Returns:
        Your place in the federation; nothing else happens until `Federation.train`.

    Raises:
        Invalid: the URL, the invite or the name is not one.
        Unauthorized: the gateway does not know the invite, or it has expired or is used up.
        NotFound: no invite was given, and nobody of this name has joined from here.
        Unavailable: the gateway does not answer.

    Example:
        >>> federation = connect(url, invite="digits.…", name="hospital-a")  # doctest: +SKIP
        >>> result = federation.train(x, y)  # doctest: +SKIP
    """
    url = checked_url(url)
    name = plain_name("name", name or _machine_name())
    clock = clock or SystemClock()
    folder = gateway_folder(Path(home) if home else home_root(os.environ), url)
    with ExitStack() as opened:
        http = opened.enter_context(open_http(url, transport))
        if invite is None:
            mine = find_home(folder, name, model)
        else:
            mine = Home(folder / f"{plain_name('model', invite.rpartition('.')[0])}-{name}")
            known = mine.load_identity()
            if known is None or known.invite != _digest(invite):
                _enrol(GatewayLink(http, Patience(clock=clock)), mine, url, invite, name)
        federation = _open(mine, http, open_http(transport=transport), clock)
        opened.pop_all()  # from here on the federation closes them
    return federation


def _enrol(gateway: GatewayLink, home: Home, url: str, invite: str, name: str) -> None:
    """Spend the invite; should the answer be lost, the same key again gets the same answer."""
    with locked(home.lock, f"joining as {name}"):
        body = Enrolment(invite=invite, name=name, public_key=public_bytes(keep_key(home.key)))
        answer = gateway.send("POST", "/v1/enrolments", body, Enrolled)
        home.save_identity(
            Identity(
                gateway=url,
                client_id=answer.client_id,
                model=answer.model,
                name=name,
                invite=_digest(invite),
            )
        )


def _open(home: Home, http: httpx.Client, store: httpx.Client, clock: Clock) -> Federation:
    identity = home.load_identity()
    assert identity is not None  # noqa: S101  (both ways here have just made or found it)
    key = keep_key(home.key)

    def token(now: datetime) -> str:
        return client_token(key, client_id=identity.client_id, model=identity.model, now=now)

    patience = Patience(seconds=WORK_PATIENCE_SECONDS, clock=clock)
    return Federation(
        identity=identity,
        home=home,
        calls=ClientCalls(GatewayLink(http, patience, token)),
        store=StoreLink(store, patience),
        clock=clock,
    )


def _digest(invite: str) -> str:
    """Recognise an invite without keeping it."""
    return hashlib.sha256(invite.encode()).hexdigest()


def _machine_name() -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname()).lstrip("._-")[:64] or "client"
