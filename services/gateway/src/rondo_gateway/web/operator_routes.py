"""The calls of operators."""

from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from rondo_core.operator_wire import (
    Invites,
    InvitesWanted,
    ModelView,
    RunStarted,
    RunView,
    SpecRegistered,
    SpecRegistration,
)
from rondo_gateway.domain.refusals import Missing
from rondo_gateway.handlers.enrolment import make_invites
from rondo_gateway.handlers.models import list_models, read_spec, register_spec, show_model
from rondo_gateway.handlers.runs import list_runs, request_run, show_run
from rondo_gateway.web.bodies import Json, gives, read_body, takes
from rondo_gateway.web.client_routes import NAME
from rondo_gateway.web.credentials import Caller, Operator
from rondo_gateway.web.door import TheDoor

__all__ = ["router", "specs_router"]

MAX_REGISTRATION_BYTES = 8 * 1024 * 1024
"""A spec may hold vocabularies, and the header of a model names all its tensors."""

router = APIRouter(tags=["operators"], dependencies=[Operator])
specs_router = APIRouter(tags=["clients", "operators"])

Model = Annotated[str, Path(pattern=NAME, max_length=64)]
Run = Annotated[str, Path(pattern=NAME, max_length=64)]
Spec = Annotated[str, Path(pattern="^[0-9a-f]{64}$")]


@router.post(
    "/v1/models/{model}/specs",
    responses=gives(SpecRegistered),
    openapi_extra=takes(SpecRegistration),
)
async def register(model: Model, request: Request, door: TheDoor) -> Response:
    """Register a model spec; the answer has links for the files that the store does not have."""
    body = await read_body(request, SpecRegistration, limit=MAX_REGISTRATION_BYTES)
    answer = await run_in_threadpool(
        register_spec,
        model,
        body,
        store=door.ports.store,
        objects=door.ports.objects,
        links=door.ports.links,
        now=door.now(),
    )
    return Json(answer)


@router.get("/v1/models", responses=gives(list[ModelView]))
async def all_models(door: TheDoor) -> Response:
    """List the models."""
    return Json(await run_in_threadpool(list_models, store=door.ports.store))


@router.get("/v1/models/{model}", responses=gives(ModelView))
async def one_model(model: Model, door: TheDoor) -> Response:
    """Show a model: specs, newest first; clients; what is served."""
    return Json(await run_in_threadpool(show_model, model, store=door.ports.store))


@specs_router.get(
    "/v1/models/{model}/specs/{spec}",
    responses=gives(dict[str, Any], description="The model spec."),
)
async def one_spec(model: Model, spec: Spec, caller: Caller, door: TheDoor) -> Response:
    """Return a model spec's canonical JSON, to operators and to clients of the model."""
    if caller is not None and caller.model != model:
        raise Missing("not-found", f"model {model!r} has no spec {spec}")
    ports = door.ports
    data = await run_in_threadpool(read_spec, model, spec, store=ports.store, objects=ports.objects)
    return Response(data, media_type="application/json")


@router.post(
    "/v1/models/{model}/invites", responses=gives(Invites), openapi_extra=takes(InvitesWanted)
)
async def invite(model: Model, request: Request, door: TheDoor) -> Response:
    """Make invites; the codes are shown this once."""
    wanted = await read_body(request, InvitesWanted)
    answer = await run_in_threadpool(
        make_invites,
        model,
        wanted,
        store=door.ports.store,
        new_secret=door.ports.new_secret,
        now=door.now(),
    )
    return Json(answer)


@router.post(
    "/v1/runs",
    status_code=202,
    responses=gives(RunStarted, status=202),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/RunWanted"}}},
        }
    },
)
async def start_run(request: Request, door: TheDoor) -> Response:
    """Ask for a run; the same ``run_id`` again is the same run."""
    body = await read_body(request, dict[str, Any])
    answer = await run_in_threadpool(
        request_run,
        body,
        store=door.ports.store,
        objects=door.ports.objects,
        publish=door.ports.publish,
        new_secret=door.ports.new_secret,
        now=door.now(),
    )
    return Json(answer, status_code=202)


@router.get("/v1/runs", responses=gives(list[RunView]))
async def all_runs(door: TheDoor, limit: Annotated[int, Query(ge=1, le=200)] = 20) -> Response:
    """List runs, newest first, without rounds and versions."""
    return Json(await run_in_threadpool(list_runs, limit=limit, store=door.ports.store))


@router.get("/v1/runs/{run}", responses=gives(RunView))
async def one_run(
    run: Run, door: TheDoor, since_round: Annotated[int, Query(ge=1, le=1_000_000)] = 1
) -> Response:
    """Show a run with its versions, and its attempts from round ``since_round`` on."""
    view = partial(show_run, run, store=door.ports.store, archive=door.archive)
    return Json(await run_in_threadpool(view, since_round=since_round))
