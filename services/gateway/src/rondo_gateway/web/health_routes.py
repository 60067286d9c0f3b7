"""What orchestrators and Prometheus ask for."""

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.concurrency import run_in_threadpool

from rondo_core.errors import Unavailable
from rondo_core.keys import OPERATOR_KEY
from rondo_gateway.web.door import TheDoor

__all__ = ["router"]

router = APIRouter(include_in_schema=False)


@router.get("/healthz")
async def alive() -> Response:
    """Answer as long as the event loop turns."""
    return _text("ok")


@router.get("/readyz")
async def ready(door: TheDoor) -> Response:
    """Answer 200 if calls can be answered: the table answers, and the process is not stopping."""
    if door.watcher.closed:
        return _text("stopping", status=503)
    try:
        await run_in_threadpool(door.ports.store.get, OPERATOR_KEY)
    except Unavailable:
        return _text("the table does not answer", status=503)
    return _text("ready")


@router.get("/metrics")
async def metrics(door: TheDoor) -> Response:
    """Return the metrics in Prometheus' text format."""
    return Response(generate_latest(door.ports.metrics.registry), media_type=CONTENT_TYPE_LATEST)


def _text(text: str, *, status: int = 200) -> Response:
    return Response(f"{text}\n", status_code=status, media_type="text/plain")
