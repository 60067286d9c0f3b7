"""Who calls, as dependencies of the routes. They run before a body is read."""

from typing import Annotated

from fastapi import Depends, Request
from starlette.concurrency import run_in_threadpool

from rondo_core.model_rows import ClientRow
from rondo_gateway.domain.tokens import bearer_token, check_client, claimed
from rondo_gateway.handlers.callers import authorise_operator
from rondo_gateway.web.access import note_of
from rondo_gateway.web.door import Door, TheDoor

__all__ = ["Caller", "Operator", "TheClient"]


async def _client(request: Request, door: TheDoor) -> ClientRow:
    return await _prove(bearer_token(request.headers.get("authorization")), request, door)


async def _operator(request: Request, door: TheDoor) -> None:
    token = bearer_token(request.headers.get("authorization"))
    await run_in_threadpool(authorise_operator, token, store=door.ports.store)


async def _caller(request: Request, door: TheDoor) -> ClientRow | None:
    """Let in either; only a client's token has dots."""
    if "." in bearer_token(request.headers.get("authorization")):
        return await _client(request, door)
    await _operator(request, door)
    return None


async def _prove(token: str, request: Request, door: Door) -> ClientRow:
    claims, now = claimed(token), door.now()
    client = door.keys.known(claims, now=now)
    if client is None:
        client = await run_in_threadpool(door.keys.look_up, claims, now=now)
    check_client(token, claims, client.public_key, now=now)
    note_of(request).fields["client_id"] = client.client_id
    return client


TheClient = Annotated[ClientRow, Depends(_client)]
Operator = Depends(_operator)
Caller = Annotated[ClientRow | None, Depends(_caller)]
"""A client, or None for an operator."""
