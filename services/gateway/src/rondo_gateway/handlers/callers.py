"""Who calls: the keys of clients, remembered for a while, and the operators' token."""

import threading
from datetime import datetime, timedelta

import msgspec

from rondo_core.keys import OPERATOR_KEY, client_key
from rondo_core.model_rows import ClientRow, OperatorRow
from rondo_core.rows import from_item
from rondo_core.run_store import CommitConflict, Key, Present, RunStore, Update
from rondo_gateway.domain.refusals import Unauthenticated
from rondo_gateway.domain.tokens import Claims, check_operator

__all__ = ["KeyRing", "authorise_operator"]

CAPACITY = 10_000
KEEP = timedelta(minutes=5)
"""For how long a client that was removed is still let in by a process that knows its key."""
TOUCH_SECONDS = 20
"""``last_seen`` is this old at most while a client polls; the dispatcher counts 60 s as present."""


def authorise_operator(token: str, *, store: RunStore) -> None:
    """Let an operator in.

    Raises:
        Unauthenticated: ``operator-token-invalid``.
        Unavailable: the table did not answer.
    """
    item = store.get(OPERATOR_KEY)
    check_operator(token, None if item is None else from_item(item, OperatorRow))


class KeyRing:
    """The clients that called lately, and when they were last seen. Safe for several threads."""

    def __init__(self, store: RunStore) -> None:
        self._store = store
        self._clients: dict[Key, tuple[ClientRow, datetime]] = {}
        self._seen: dict[Key, datetime] = {}
        self._lock = threading.RLock()

    def known(self, claims: Claims, *, now: datetime) -> ClientRow | None:
        """Return the client if it is remembered. Never blocks."""
        row, since = self._clients.get(_key(claims), (None, now))
        return row if now - since < KEEP else None

    def look_up(self, claims: Claims, *, now: datetime) -> ClientRow:
        """Return the client from the table, and remember it. Blocks.

        Raises:
            Unauthenticated: ``unknown-client``.
            Unavailable: the table did not answer.
        """
        key = _key(claims)
        item = self._store.get(key)
        if item is None:
            self._forget(key)
            raise _unknown(claims.sub, claims.model)
        row = from_item(item, ClientRow)
        with self._lock:
            while len(self._clients) >= CAPACITY:
                self._forget(next(iter(self._clients)))
            self._clients[key] = (row, now)
            self._seen.setdefault(key, row.last_seen)
        return row

    def is_due(self, client: ClientRow, *, now: datetime) -> bool:
        """Tell whether it is time to write that a client is there. Never blocks."""
        seen = self._seen.get(client_key(client.model, client.client_id), client.last_seen)
        return now - seen >= timedelta(seconds=TOUCH_SECONDS)

    def touch(self, client: ClientRow, *, now: datetime) -> None:
        """Write that a client is there. Blocks; safe to call twice.

        Raises:
            Unauthenticated: ``unknown-client``, it was removed.
            Unavailable: the table did not answer.
        """
        key = client_key(client.model, client.client_id)
        seen = {"last_seen": msgspec.to_builtins(now)}
        try:
            self._store.commit(Update(key, assign=seen, when=(Present(),)))
        except CommitConflict as exc:
            self._forget(key)
            raise _unknown(client.client_id, client.model) from exc
        self._seen[key] = now

    def _forget(self, key: Key) -> None:
        with self._lock:
            self._clients.pop(key, None)
            self._seen.pop(key, None)


def _key(claims: Claims) -> Key:
    return client_key(claims.model, claims.sub)


def _unknown(client_id: str, model: str) -> Unauthenticated:
    return Unauthenticated("unknown-client", f"{client_id!r} is not enrolled for {model!r}")
