"""The calls of clients."""

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from rondo_core.client_wire import (
    Declaration,
    Declared,
    Enrolled,
    Enrolment,
    Outcome,
    Receipt,
    Report,
    Work,
)
from rondo_core.rows import RunRow
from rondo_gateway.domain.attempts import AttemptId, parse_attempt
from rondo_gateway.domain.snapshot import OpenAttempt, Snapshot, Waiter, judged, over, pick
from rondo_gateway.domain.updates import receipt
from rondo_gateway.handlers.enrolment import enrol
from rondo_gateway.handlers.updates import declare, read_outcome, read_receipt, report
from rondo_gateway.handlers.work import assignment
from rondo_gateway.web.bodies import Json, gives, read_body, takes
from rondo_gateway.web.credentials import TheClient
from rondo_gateway.web.door import TheDoor

__all__ = ["MAX_WAIT_SECONDS", "NAME", "router"]

MAX_WAIT_SECONDS = 30.0
NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
ATTEMPT = "/v1/runs/{run}/rounds/{round}/attempts/{attempt}"
UPDATE = f"{ATTEMPT}/update"

router = APIRouter(tags=["clients"])

Wait = Annotated[float, Query(ge=0, description=f"Seconds; at most {MAX_WAIT_SECONDS:g} count.")]
RunName = Annotated[str, Query(pattern=NAME, max_length=64)]


async def _attempt(
    run: Annotated[str, Path(pattern=NAME, max_length=64)],
    round: Annotated[int, Path(ge=1, le=1_000_000)],  # noqa: A002  (the path's own word)
    attempt: Annotated[int, Path(ge=1, le=99)],
) -> AttemptId:
    return AttemptId(run, round, attempt)


Where = Annotated[AttemptId, Depends(_attempt)]


@router.post("/v1/enrolments", responses=gives(Enrolled), openapi_extra=takes(Enrolment))
async def enrol_client(request: Request, door: TheDoor) -> Response:
    """Become a client of a model, by invite. The same key again gets the same answer."""
    body = await read_body(request, Enrolment)
    answer = await run_in_threadpool(enrol, body, store=door.ports.store, now=door.now())
    door.ports.metrics.count("rondo_clients_enrolled_total")
    return Json(answer)


@router.get("/v1/work", responses=gives(Work))
async def wait_for_work(
    client: TheClient,
    door: TheDoor,
    wait: Wait = 0.0,
    done: str | None = None,
    run: RunName | None = None,
) -> Response:
    """Wait for an assignment other than ``done``, or for the end of ``run``."""
    last = None if done is None else parse_attempt(done)
    if door.keys.is_due(client, now=door.now()):
        await run_in_threadpool(door.keys.touch, client, now=door.now())

    def answer(snapshot: Snapshot) -> OpenAttempt | RunRow | None:
        name, model = client.client_id, client.model
        chosen = pick(snapshot, name, model, done=last, now=door.now())
        return chosen or over(snapshot, run)

    found = await door.watcher.wait_for(
        Waiter(run=run), answer, seconds=min(wait, MAX_WAIT_SECONDS)
    )
    match found:
        case OpenAttempt():
            task = await run_in_threadpool(
                assignment, found, client.client_id, links=door.ports.links
            )
            return Json(Work(assignment=task))
        case RunRow():
            return Json(Work(run_state=found.state, reason=found.reason))
    return Json(Work())


@router.put(UPDATE, responses=gives(Declared), openapi_extra=takes(Declaration))
async def declare_update(
    where: Where, client: TheClient, request: Request, door: TheDoor
) -> Response:
    """Declare an update, and get the link to upload it to."""
    body = await read_body(request, Declaration)
    answer = await run_in_threadpool(
        declare,
        where,
        client,
        body,
        store=door.ports.store,
        reads=door.reads,
        archive=door.archive,
        links=door.ports.links,
        now=door.now(),
    )
    return Json(answer)


@router.post(
    f"{UPDATE}/report",
    status_code=202,
    responses=gives(Receipt, status=202),
    openapi_extra=takes(Report),
)
async def report_update(
    where: Where, client: TheClient, request: Request, door: TheDoor
) -> Response:
    """Say that the upload is done."""
    body = await read_body(request, Report)
    answer = await run_in_threadpool(
        report,
        where,
        client,
        body.sha256,
        store=door.ports.store,
        reads=door.reads,
        publish=door.publish,
        now=door.now(),
    )
    return Json(answer, status_code=202)


@router.get(UPDATE, responses=gives(Receipt))
async def wait_for_verdict(
    where: Where, client: TheClient, door: TheDoor, wait: Wait = 0.0
) -> Response:
    """Wait until an update is judged; after ``wait`` say how it stands."""
    at: AttemptId | None = where
    while at is not None:
        row = await door.watcher.wait_for(
            Waiter(verdict=at),
            partial(judged, where=at, client_id=client.client_id),
            seconds=min(wait, MAX_WAIT_SECONDS),
        )
        if row is not None and row.state != "MOVED":
            return Json(receipt(where, row, at=at))
        at = None if row is None or row.entered is None else AttemptId(where.run_id, *row.entered)
    return Json(await run_in_threadpool(read_receipt, where, client, store=door.ports.store))


@router.get(f"{ATTEMPT}/outcome", responses=gives(Outcome))
async def show_outcome(where: Where, client: TheClient, door: TheDoor) -> Response:
    """Say what became of an attempt, and of the client's update in it, at once."""
    outcome = partial(read_outcome, where, client, store=door.ports.store, reads=door.reads)
    return Json(await run_in_threadpool(outcome))
