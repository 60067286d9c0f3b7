"""The page's routes: a list of models, one page a model, its forms, its files.

Rows that do not fit are set aside and marked; the others are predicted. Every other error is the
one that the other doors give, as HTML.
"""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np
from msgspec.structs import replace

from rondo_core.errors import Invalid, RondoError, RowInvalid
from rondo_core.input_schema import TableInput
from rondo_core.layout import Float32Array
from rondo_core.model_spec import ModelSpec
from rondo_inference.checks import beyond_bounds, checked
from rondo_inference.contracts.messages import (
    CSV,
    Answer,
    Request,
    Route,
    WaitRoute,
    request_key,
    route_pattern,
    version_headers,
)
from rondo_inference.contracts.table import DoorRules
from rondo_inference.domain.predict_body import SIGNATURE
from rondo_inference.domain.row_faults import RowFaults
from rondo_inference.domain.tensor_bodies import decode_tensors_body, encode_tensors
from rondo_inference.handlers import Inference, Target
from rondo_inference.page import job_routes
from rondo_inference.page.asked import check_site, version_of
from rondo_inference.page.forms import Asked, Sent, read, read_sent, sample_csv
from rondo_inference.page.model_page import ModelPage, Said
from rondo_inference.page.outcomes import answered, as_csv, outcome
from rondo_inference.page.pages import Pages, Refuse, attachment, error_text
from rondo_inference.page.places import placed, told_refusal
from rondo_inference.page.views import cards, operations
from rondo_inference.registry.served import ServedModel

__all__ = ["routes"]

_CSV = f"{CSV}; charset=utf-8"
T = TypeVar("T")


def routes(
    inference: Inference, rules: DoorRules, pages: Pages, *, readers: Executor, refuse: Refuse
) -> tuple[Route | WaitRoute, ...]:
    """Return the routes.

    Args:
        inference: the core.
        rules: see there.
        pages: the templates.
        readers: threads that read what was sent and write what is shown.
        refuse: makes the answer to an error; see `Refuse`.
    """
    door = _Door(inference, pages, ModelPage(pages, inference.catalogue, rules), readers, refuse)
    model = "/page/models/(?P<model>[^/]+)"
    file = "/page/assets/(?P<file>[^/]+)"
    shown = partial(Route, browser=True, about_server=True)
    wait = partial(WaitRoute, browser=True)
    jobs: tuple[WaitRoute, ...] = ()
    if rules.orders is not None:
        jobs = job_routes.routes(rules.orders, inference.catalogue, pages, refuse)
    return (
        shown("page", "GET", route_pattern("/"), door.models),
        shown("docs", "GET", route_pattern("/docs"), door.docs),
        Route("page-assets", "GET", route_pattern(file), door.asset, open=True),
        wait("page-model", "GET", route_pattern(model), door.show),
        wait("page-predict", "POST", route_pattern(model), door.predict),
        wait("page-sample", "GET", route_pattern(f"{model}/sample.csv"), door.sample),
        *jobs,
    )


@dataclass(frozen=True, slots=True)
class _Door:
    inference: Inference
    pages: Pages
    page: ModelPage
    readers: Executor
    refuse: Refuse

    def asset(self, request: Request) -> Answer:
        return self.pages.asset(request.path["file"])

    def models(self, request: Request) -> Answer:
        return self.pages.html("models.html", models=cards(self.inference.catalogue, request))

    def docs(self, request: Request) -> Answer:
        documents = self.page.rules.documents(self.inference.catalogue)
        return self.pages.html("docs.html", groups=operations(documents.of(request)))

    async def show(self, request: Request) -> Answer:
        async def shown(served: ServedModel) -> Answer:
            return self.page.show(served, chosen=version_of(request))

        return await self._held(request, shown)

    async def sample(self, request: Request) -> Answer:
        async def written(served: ServedModel) -> Answer:
            if served.spec is None or not isinstance(served.spec.input, TableInput):
                raise Invalid(f"model {served.name!r} takes no table")
            return attachment(sample_csv(served.spec.input), _CSV, f"{served.name}.csv")

        return await self._held(request, written)

    async def predict(self, request: Request) -> Answer:
        return await self._held(request, partial(self._predicted, request))

    async def _held(
        self, request: Request, answer: Callable[[ServedModel], Awaitable[Answer]]
    ) -> Answer:
        """Hold a version while it answers, and name it; an error is a page of its own."""
        try:
            model, version = request.path["model"], version_of(request)
            target = Target(model, version=version, key=request_key(request))
            async with self.inference.lease(target) as served:
                found = await answer(served)
                return replace(found, headers={**found.headers, **version_headers(served)})
        except RondoError as exc:
            return self.pages.failure(self.refuse(exc))

    async def _predicted(self, request: Request, served: ServedModel) -> Answer:
        check_site(request)
        sent = await self._aside(read_sent, request)
        show = partial(self.page.show, served, sent=sent, chosen=version_of(request))
        try:
            found = await self._found(served, sent)
        except RondoError as exc:
            refused = self.refuse(exc)
            said = Said(error=await self._why(served, sent, exc, refused))
            return show(said=said, status=refused.status, headers=refused.headers)
        return found if isinstance(found, Answer) else await self._aside(partial(show, said=found))

    async def _found(self, served: ServedModel, sent: Sent) -> Said | Answer:
        """Return what the page is to say, or the file that is to be saved."""
        if served.spec is None:
            return Said(text=await self._tensors(served, sent))
        asked, outputs = await self._rows(served, served.spec, sent)
        if sent.kind == "row" and asked.faults:
            return Said(error=asked.faults[0].rule)
        if sent.as_file:
            body = await self._aside(as_csv, served.spec, asked, outputs)
            return attachment(body, _CSV, f"{served.name}-v{served.version}.csv")
        found = await self._aside(outcome, served.spec, asked, outputs)
        return Said(await self._aside(placed, served.spec, sent, found))

    async def _why(self, served: ServedModel, sent: Sent, exc: RondoError, refused: Answer) -> str:
        """Return what the other doors say, but for rows, which people count otherwise."""
        if served.spec is None or not isinstance(exc, RowInvalid):
            return error_text(refused)
        return await self._aside(told_refusal, served.spec, sent, exc)

    async def _rows(
        self, served: ServedModel, spec: ModelSpec, sent: Sent
    ) -> tuple[Asked, Float32Array]:
        asked = await self._aside(read, spec, sent)
        if sent.kind == "row" and asked.faults:
            raise RowFaults(asked.faults)
        if not len(asked.inputs):
            return asked, np.empty((0, len(spec.outputs)), np.float32)
        beyond = await self._aside(beyond_bounds, served, (asked.inputs,))
        (outputs,) = await self.inference.predict(served, (asked.inputs,), beyond=beyond)
        return await self._aside(answered, asked, outputs)

    async def _tensors(self, served: ServedModel, sent: Sent) -> str:
        body = sent.values.get("body", "").encode()
        inputs, by_column = await self._aside(
            decode_tensors_body, body, served.signature, SIGNATURE
        )
        outputs = await self.inference.predict(served, checked(served, inputs))
        text = await self._aside(
            partial(encode_tensors, served.signature, outputs, by_column=by_column)
        )
        return text.decode()

    async def _aside(self, work: Callable[..., T], *values: object) -> T:
        """Work in another thread, so that nobody waits for it."""
        return await asyncio.get_running_loop().run_in_executor(self.readers, work, *values)
