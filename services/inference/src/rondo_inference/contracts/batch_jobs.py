"""Batch jobs over HTTP: our own routes, and SageMaker's asynchronous inference.

No bytes of a large file come through here: callers put them at links into the store.

Source: InvokeEndpointAsync of the SageMaker Runtime API (docs.aws.amazon.com/sagemaker).
"""

import asyncio
import re
from collections.abc import Awaitable, Callable
from functools import partial
from http import HTTPStatus

import msgspec
from msgspec.structs import replace

from rondo_core.errors import Invalid
from rondo_core.model_rows import AliasRow
from rondo_inference.batch.new_jobs import Wishes
from rondo_inference.batch.orders import Orders
from rondo_inference.batch.wire import NewJob
from rondo_inference.contracts.messages import (
    Answer,
    Request,
    TooLarge,
    WaitRoute,
    json_answer,
    route_pattern,
)
from rondo_inference.registry.catalogue import Catalogue

__all__ = ["LARGEST_PAYLOAD", "alias_of", "routes"]

LARGEST_BODY = 128_000
LARGEST_PAYLOAD = 1024**3
"""SageMaker's bounds of a body in the request, and of an object."""

_HEADER = "x-amzn-sagemaker-"
_JOBS = "/batch/(?P<model>[^/:]+)/jobs"
_JOB = _JOBS + "/(?P<job>[A-Za-z0-9-]+)"
_INVOCATIONS = "/endpoints/(?P<name>[^/:]+)/async-invocations"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_PATH = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]{0,63}/){0,8}[A-Za-z0-9][A-Za-z0-9._-]{0,63}/?")
_WANTED = msgspec.json.Decoder(NewJob)

_Answer = Callable[[Orders, Request], Answer]
"""Answers a request with the jobs of who asks: no handler has those of others."""


def routes(orders: Orders, catalogue: Catalogue) -> tuple[WaitRoute, ...]:
    """Return the routes."""

    def route(name: str, method: str, path: str, answer: _Answer) -> WaitRoute:
        def later(request: Request) -> Awaitable[Answer]:
            return asyncio.to_thread(answer, orders.of(request.asker), request)

        return WaitRoute(name, method, route_pattern(path), later)

    return (
        route("batch-make", "POST", _JOBS, partial(_make, catalogue)),
        route("batch-list", "GET", _JOBS, _list),
        route("batch-show", "GET", _JOB, _of_job(Orders.show)),
        route("batch-start", "POST", f"{_JOB}/start", _of_job(Orders.start)),
        route("batch-cancel", "POST", f"{_JOB}/cancel", _of_job(Orders.cancel)),
        route("batch-delete", "DELETE", _JOB, _delete),
        route("sagemaker-async", "POST", _INVOCATIONS, partial(_invoke, catalogue)),
    )


def _make(catalogue: Catalogue, orders: Orders, request: Request) -> Answer:
    wanted = _wanted(request.body)
    alias = alias_of(catalogue, request.path["model"], wanted.label, wanted.version)
    return json_answer(orders.make(alias, wanted), status=HTTPStatus.CREATED)


def _list(orders: Orders, request: Request) -> Answer:
    before = request.parameter("before")
    return json_answer(orders.list(request.path["model"], before=before))


def _of_job(action: Callable[[Orders, str, str], object]) -> _Answer:
    return lambda orders, request: json_answer(
        action(orders, request.path["model"], request.path["job"])
    )


def _delete(orders: Orders, request: Request) -> Answer:
    orders.delete(request.path["model"], request.path["job"])
    return Answer(status=HTTPStatus.NO_CONTENT)


def alias_of(catalogue: Catalogue, model: str, label: str | None, version: int | None) -> AliasRow:
    """Return the version that a new job is predicted with.

    Raises:
        NotFound: no such model, label or version.
    """
    slot = catalogue.resolve(model, label=label, version=version)
    return slot.wanted if slot.served is None else slot.served.alias


def _wanted(body: bytes) -> NewJob:
    try:
        return _WANTED.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        raise Invalid(f"the body is not a new job: {exc}") from exc


def _invoke(catalogue: Catalogue, orders: Orders, request: Request) -> Answer:
    alias = alias_of(catalogue, request.path["name"], None, None)
    location = request.header(f"{_HEADER}inputlocation")
    if bool(location) == bool(request.body):
        raise Invalid("send either InputLocation or a body")
    wanted = NewJob(
        content_type=request.header(f"{_HEADER}content-type") or request.header("content-type"),
        accept=request.header(f"{_HEADER}accept") or request.header("accept"),
        input=location or None,
    )
    wishes = _wishes(request)
    if location:
        orders.check_payload(location, LARGEST_PAYLOAD)
        view = orders.make(alias, wanted, wishes)
    elif len(request.body) > LARGEST_BODY:
        raise TooLarge(f"a body of {len(request.body)} bytes, at most {LARGEST_BODY}; put it in S3")
    else:
        view = orders.make_of_bytes(alias, wanted, request.body, wishes)
    output, failures = orders.locations(alias.model, view.job_id)
    answer = json_answer(
        {"InferenceId": wishes.inference_id or view.job_id}, status=HTTPStatus.ACCEPTED
    )
    told = {f"{_HEADER}outputlocation": output, f"{_HEADER}failurelocation": failures}
    return replace(answer, headers=told)


def _wishes(request: Request) -> Wishes:
    path = request.header(f"{_HEADER}s3outputpathextension").strip("/")
    filename = request.header(f"{_HEADER}filename")
    if path and not _PATH.fullmatch(path):
        raise Invalid(f"S3OutputPathExtension {path!r} is no path of plain names")
    if filename and not _NAME.fullmatch(filename):
        raise Invalid(f"Filename {filename!r} is no plain name")
    inference_id = request.header(f"{_HEADER}inference-id")
    if len(inference_id) > 64:  # noqa: PLR2004  (SageMaker's)
        raise Invalid("InferenceId is longer than 64 characters")
    return Wishes(
        inference_id=inference_id or None,
        ttl_seconds=_seconds(request, "requestttlseconds", 60, 21600, 21600),
        timeout_seconds=_seconds(request, "invocationtimeoutseconds", 1, 3600, 900),
        path=f"{path}/" if path else "",
        filename=filename,
    )


def _seconds(request: Request, name: str, least: int, most: int, usual: int) -> int:
    text = request.header(f"{_HEADER}{name}")
    if not text:
        return usual
    if not (text.isascii() and text.isdigit() and least <= int(text) <= most):
        raise Invalid(f"{name} {text!r} is not between {least} and {most}")
    return int(text)
