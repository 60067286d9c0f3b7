"""The application: routes, the layer around them, and the watcher's life."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse

from rondo_core.errors import RondoError
from rondo_core.tracing import tracing
from rondo_gateway.domain.refusals import Unfit
from rondo_gateway.domain.snapshot import Interests, Snapshot
from rondo_gateway.handlers.archive import Archive
from rondo_gateway.handlers.callers import KeyRing
from rondo_gateway.handlers.grouping import GroupedPublish, SharedReads
from rondo_gateway.handlers.work import observe
from rondo_gateway.web import client_routes, health_routes, operator_routes
from rondo_gateway.web.access import AccessLog, answer_fault
from rondo_gateway.web.docs_page import CONTENT_SECURITY_POLICY, docs_page
from rondo_gateway.web.door import Door, Ports
from rondo_gateway.web.openapi import describe
from rondo_gateway.web.traced import Traced
from rondo_gateway.web.watcher import Watcher

__all__ = ["build_app", "open_door"]

log = logging.getLogger(__name__)


def open_door(ports: Ports, *, tick_seconds: float) -> Door:
    """Return what the application keeps between calls; it holds no connection of its own.

    Args:
        ports: the outside world.
        tick_seconds: shortest time between two looks of the watcher.
    """
    archive = Archive(ports.store, ports.objects)

    def look(interests: Interests, before: Snapshot) -> Snapshot:
        now = ports.clock.now()
        seen = observe(interests, before, store=ports.store, archive=archive, now=now)
        for reason in seen.unreadable - before.unreadable:
            log.error("row skipped", extra={"error": reason, "outcome": "skipped"})
        return seen

    watcher = Watcher(look, tick_seconds=tick_seconds, metrics=ports.metrics)
    return Door(
        ports=ports,
        archive=archive,
        reads=SharedReads(ports.store),
        publish=GroupedPublish(ports.publish),
        keys=KeyRing(ports.store),
        watcher=watcher,
    )


def build_app(door: Door) -> FastAPI:
    """Return the ASGI application. ``door.watcher.close()`` lets long polls end before it stops."""
    app = FastAPI(
        title="Rondo gateway", docs_url=None, redoc_url=None, lifespan=partial(_watching, door)
    )
    app.state.door = door
    app.openapi = partial(_described, app)  # type: ignore[method-assign]  # FastAPI's documented way
    app.add_middleware(AccessLog, metrics=door.ports.metrics)
    if tracing():
        app.add_middleware(Traced)
    app.add_exception_handler(RondoError, _refuse)
    app.add_exception_handler(HTTPException, _refuse)
    app.add_exception_handler(RequestValidationError, _refuse_parameters)
    app.add_api_route("/docs", _docs, include_in_schema=False)
    for router in (
        client_routes.router,
        operator_routes.specs_router,
        operator_routes.router,
        health_routes.router,
    ):
        app.include_router(router)
    return app


@asynccontextmanager
async def _watching(door: Door, _: FastAPI) -> AsyncIterator[None]:
    watching = asyncio.create_task(door.watcher.run(), name="watcher")
    try:
        yield
    finally:
        door.watcher.close()
        await watching


async def _refuse(request: Request, exc: Exception) -> Response:
    return answer_fault(request, exc)


async def _refuse_parameters(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, RequestValidationError)  # noqa: S101  (registered for nothing else)
    first = exc.errors()[0]
    rule = f"{first['msg']} - at `{'.'.join(str(step) for step in first['loc'])}`"
    return answer_fault(request, Unfit("invalid-parameter", rule))


def _described(app: FastAPI) -> dict[str, object]:
    if app.openapi_schema is None:
        app.openapi_schema = describe(app)
    return app.openapi_schema


async def _docs(request: Request) -> Response:
    return HTMLResponse(
        docs_page(request.app.openapi()),
        headers={"Content-Security-Policy": CONTENT_SECURITY_POLICY},
    )
