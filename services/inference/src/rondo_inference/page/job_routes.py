"""The page's routes of batch jobs: files that are too large to be answered at once.

With a script the browser puts files at links into the store; without, a file comes through here.
"""

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import quote

import msgspec
from msgspec import Struct

from rondo_core.errors import Invalid, RondoError
from rondo_core.model_rows import AliasRow
from rondo_inference.batch.orders import Orders
from rondo_inference.batch.results import refused_csv
from rondo_inference.batch.wire import Files, NewJob
from rondo_inference.contracts.batch_jobs import alias_of
from rondo_inference.contracts.messages import (
    CSV,
    JSON,
    Answer,
    Request,
    WaitRoute,
    json_answer,
    route_pattern,
)
from rondo_inference.domain.batch_media import LINES, NPY, PICTURES
from rondo_inference.domain.multipart import decode_multipart
from rondo_inference.domain.negotiation import media_parameter, media_type
from rondo_inference.page.asked import check_site, version_of
from rondo_inference.page.job_views import job_lines
from rondo_inference.page.pages import Pages, Refuse, attachment
from rondo_inference.registry.catalogue import Catalogue

__all__ = ["LISTED", "SUFFIXES", "routes"]

LISTED = 10
"""Jobs on one page."""

SUFFIXES = {
    "csv": CSV,
    "jsonl": LINES,
    "ndjson": LINES,
    "npy": NPY,
    "png": PICTURES[0],
    "jpg": PICTURES[1],
    "jpeg": PICTURES[1],
}
"""What a file is, by the end of its name."""

_JOBS = "/page/models/(?P<model>[^/]+)/jobs"
_JOB = _JOBS + "/(?P<job>[A-Za-z0-9-]+)"
_LONGEST_NAME = 100


class _Chosen(Struct, frozen=True, forbid_unknown_fields=True):
    """Files that the browser is going to put at links."""

    files: Files


def routes(
    orders: Orders, catalogue: Catalogue, pages: Pages, refuse: Refuse
) -> tuple[WaitRoute, ...]:
    """Return the routes.

    Args:
        orders: the jobs.
        catalogue: knows which version a new job gets.
        pages: the templates.
        refuse: makes the answer to an error.
    """

    def route(name: str, method: str, path: str, answer: "_Answer") -> WaitRoute:
        async def later(request: Request) -> Answer:
            door = _JobDoor(orders.of(request.asker), catalogue, pages, refuse)
            return await asyncio.to_thread(door.answered, answer, request)

        return WaitRoute(name, method, route_pattern(path), later, browser=True)

    def act(name: str, action: Callable[[Orders, str, str], object]) -> WaitRoute:
        def done(door: _JobDoor, request: Request) -> Answer:
            check_site(request)
            action(door.orders, request.path["model"], request.path["job"])
            return _see(_address(request))

        return route(f"page-job-{name}", "POST", f"{_JOB}/{name}", done)

    return (
        route("page-jobs", "GET", _JOBS, _JobDoor.list),
        route("page-job-make", "POST", _JOBS, _JobDoor.make),
        act("start", Orders.start),
        act("cancel", Orders.cancel),
        act("delete", Orders.delete),
        route("page-job-output", "GET", f"{_JOB}/output", _JobDoor.output),
        route("page-job-refused", "GET", f"{_JOB}/refused.csv", _JobDoor.refused),
    )


@dataclass(frozen=True, slots=True)
class _JobDoor:
    """What who asks sees of the jobs."""

    orders: Orders
    catalogue: Catalogue
    pages: Pages
    refuse: Refuse

    def answered(self, answer: "_Answer", request: Request) -> Answer:
        """Answer; an error is a page, or JSON where a script asks."""
        try:
            return answer(self, request)
        except RondoError as exc:
            refused = self.refuse(exc)
            return refused if _is_json(request) else self.pages.failure(refused)

    def list(self, request: Request) -> Answer:
        model, before = request.path["model"], request.parameter("before")
        self.catalogue.resolve(model)
        jobs = self.orders.list(model, before=before, most=LISTED)
        lines = job_lines(jobs)
        return self.pages.html(
            "jobs.html",
            model=model,
            jobs=lines,
            older=jobs.older,
            before=before,
            moves=any(job.moves for job in lines),
        )

    def make(self, request: Request) -> Answer:
        check_site(request)
        alias = alias_of(self.catalogue, request.path["model"], None, version_of(request))
        if _is_json(request):
            return self._announced(alias, request)
        header = request.header("content-type")
        parts = decode_multipart(request.body, media_parameter(header, "boundary"))
        files = [part for part in parts if part.filename]
        if len(files) != 1:
            raise Invalid("choose one file; several pictures need a browser that runs scripts")
        (file,) = files
        wanted = NewJob(content_type=_kind(file.filename), accept=CSV)
        self.orders.make_of_bytes(alias, wanted, file.content, name=_plain(file.filename))
        return _see(_address(request))

    def _announced(self, alias: AliasRow, request: Request) -> Answer:
        try:
            chosen = msgspec.json.decode(request.body, type=_Chosen).files
        except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
            raise Invalid(f"these are no files of a job: {exc}") from exc
        if not chosen:
            raise Invalid("no file was chosen")
        wanted = NewJob(content_type=_kind(chosen[0].name), accept=CSV, files=chosen)
        return json_answer(self.orders.make(alias, wanted), status=HTTPStatus.CREATED)

    def output(self, request: Request) -> Answer:
        view = self.orders.show(request.path["model"], request.path["job"])
        if view.output is None:
            raise Invalid(f"job {view.job_id} is {view.state}: it has no output")
        return _see(view.output.url)

    def refused(self, request: Request) -> Answer:
        model, job = request.path["model"], request.path["job"]
        found = refused_csv(self.orders, model, job)
        if isinstance(found, str):
            return _see(found)
        return attachment(found, f"{CSV}; charset=utf-8", f"{model}-{job}-refused.csv")


_Answer = Callable[[_JobDoor, Request], Answer]


def _is_json(request: Request) -> bool:
    return media_type(request.header("content-type")) == JSON


def _address(request: Request) -> str:
    return f"/page/models/{quote(request.path['model'], safe='')}/jobs"


def _see(address: str) -> Answer:
    told = {"location": address, "cache-control": "no-store"}
    return Answer(status=HTTPStatus.SEE_OTHER, headers=told)


def _kind(name: str) -> str:
    suffix = name.rpartition(".")[2].lower()
    if suffix not in SUFFIXES:
        raise Invalid(f"{name!r} ends with none of {', '.join('.' + one for one in SUFFIXES)}")
    return SUFFIXES[suffix]


def _plain(name: str) -> str:
    """Return a name that a job's file may have."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name)[-_LONGEST_NAME:].lstrip("._-") or "input"
