"""Which clients take part in a round, and with which seeds: pure functions of run and round."""

import hashlib
from collections.abc import Iterable
from datetime import datetime, timedelta

from rondo_core.model_rows import ClientRow
from rondo_dispatcher.domain.attempts import Attempt

__all__ = ["AVAILABLE_SECONDS", "at_work", "available", "choose", "training_seed"]

AVAILABLE_SECONDS = 60.0
"""A client that polled within this time is there."""


def available(clients: Iterable[ClientRow], *, now: datetime) -> tuple[str, ...]:
    """Return the ids of the clients that polled within ``AVAILABLE_SECONDS``, ascending."""
    since = now - timedelta(seconds=AVAILABLE_SECONDS)
    return tuple(sorted(client.client_id for client in clients if client.last_seen >= since))


def at_work(attempt: Attempt, *, now: datetime) -> dict[str, datetime]:
    """Return which clients may still hand in an update of an attempt that is over.

    Returns:
        Client, ascending, and until when it is waited for: the deadline of the attempt for which
        it was last given work.
    """
    row = attempt.row
    until = {client: row.at_work.get(client, row.deadline_at) for client in row.clients}
    return {
        client: end
        for client, end in sorted(until.items())
        if client in attempt.unjudged and end is not None and end > now
    }


def choose(
    candidates: Iterable[str], *, run_id: str, round_: int, count: int, always: str | None = None
) -> tuple[str, ...]:
    """Choose ``count`` clients, seeded by run and round; fewer candidates are all chosen.

    A candidate who is ``always`` chosen takes one of the places.

    Each candidate draws the SHA-256 of run, round and its own id, and the lowest win. So every
    subset of this size is equally likely, the order of the candidates does not matter, and one who
    comes or goes replaces one other at most.

    Returns:
        The chosen ids, ascending.

    >>> choose(["ann", "bob", "eve"], run_id="run", round_=1, count=2)
    ('bob', 'eve')
    """
    drawn = sorted(
        candidates,
        key=lambda client: (client != always, _draw("choice", run_id, round_, client)),
    )
    return tuple(sorted(drawn[:count]))


def training_seed(run_id: str, round_: int, client_id: str) -> int:
    """Return a client's seed of one round, 0 to 2**31 - 1; every attempt of the round has the same.

    >>> training_seed("run", 1, "ann") == training_seed("run", 2, "ann")
    False
    """
    return int.from_bytes(_draw("training", run_id, round_, client_id)[:4], "big") >> 1


def _draw(purpose: str, run_id: str, round_: int, client_id: str) -> bytes:
    return hashlib.sha256(f"{purpose}/{run_id}/{round_}/{client_id}".encode()).digest()
