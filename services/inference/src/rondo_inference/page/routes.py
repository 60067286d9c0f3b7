"""The page's routes: a list of models, one page a model, its forms, its files.

Rows that do not fit are set aside and marked; the others are predicted. Every other error is the
one that the other doors give, as HTML.
"""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

import msgspec
import numpy as np

from rondo_core.errors import Invalid, NotFound, RondoError
from rondo_core.input_schema import TableInput
from rondo_core.layout import Float32Array
from rondo_core.model_spec import ModelSpec
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
from rondo_inference.handlers import Inference, Target, checked
from rondo_inference.page.forms import Asked, Sent, read, read_sent, sample_csv
from rondo_inference.page.model_page import ModelPage, Said
from rondo_inference.page.outcomes import as_csv, outcome
from rondo_inference.page.pages import Pages, attachment
from rondo_inference.page.views import cards
from rondo_inference.registry.served import ServedModel

__all__ = ["Refuse", "routes"]

Refuse = Callable[[RondoError], Answer]
"""Makes the JSON answer to an error; the page takes its status, its headers and its text."""

_CSV = f"{CSV}; charset=utf-8"
_LONGEST_VERSION = 18
T = TypeVar("T")


def routes(
    inference: Inference, rules: DoorRules, *, readers: Executor, refuse: Refuse
) -> tuple[Route | WaitRoute, ...]:
    """Return the routes.

    Args:
        inference: the core.
        rules: see there.
        readers: threads that read what was sent and write what is shown.
        refuse: makes the answer to an error; see `Refuse`.
    """
    pages = Pages.load()
    door = _Door(inference, pages, ModelPage(pages, inference.catalogue, rules), readers, refuse)
    model = "/page/models/(?P<model>[^/]+)"
    file = "/page/assets/(?P<file>[^/]+)"
    wait = partial(WaitRoute, browser=True)
    return (
        Route("page", "GET", route_pattern("/"), door.models, browser=True),
        Route("page-assets", "GET", route_pattern(file), door.asset, open=True),
        wait("page-model", "GET", route_pattern(model), door.show),
        wait("page-predict", "POST", route_pattern(model), door.predict),
        wait("page-sample", "GET", route_pattern(f"{model}/sample.csv"), door.sample),
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

    def models(self, _: Request) -> Answer:
        return self.pages.html("models.html", models=cards(self.inference.catalogue))

    async def show(self, request: Request) -> Answer:
        async def shown(served: ServedModel) -> Answer:
            return self.page.show(served, chosen=_version(request))

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
            model, version = request.path["model"], _version(request)
            target = Target(model, version=version, key=request_key(request))
            async with self.inference.lease(target) as served:
                found = await answer(served)
                return replace(found, headers={**found.headers, **version_headers(served)})
        except RondoError as exc:
            text, refused = self._refusal(exc)
            return self.pages.html(
                "failure.html", status=refused.status, headers=refused.headers, text=text
            )

    def _refusal(self, exc: RondoError) -> tuple[str, Answer]:
        refused = self.refuse(exc)
        return msgspec.json.decode(refused.body)["error"], refused

    async def _predicted(self, request: Request, served: ServedModel) -> Answer:
        _check_site(request)
        sent = await self._aside(read_sent, request)
        show = partial(self.page.show, served, sent=sent, chosen=_version(request))
        try:
            found = await self._found(served, sent)
        except RondoError as exc:
            text, refused = self._refusal(exc)
            return show(said=Said(error=text), status=refused.status, headers=refused.headers)
        return found if isinstance(found, Answer) else await self._aside(partial(show, said=found))

    async def _found(self, served: ServedModel, sent: Sent) -> Said | Answer:
        """Return what the page is to say, or the file that is to be saved."""
        if served.spec is None:
            return Said(text=await self._tensors(served, sent))
        asked, outputs = await self._rows(served, served.spec, sent)
        if sent.as_file:
            body = await self._aside(as_csv, served.spec, asked, outputs)
            return attachment(body, _CSV, f"{served.name}-v{served.version}.csv")
        return Said(await self._aside(outcome, served.spec, asked, outputs))

    async def _rows(
        self, served: ServedModel, spec: ModelSpec, sent: Sent
    ) -> tuple[Asked, Float32Array]:
        asked = await self._aside(read, spec, sent)
        if sent.kind == "row" and asked.faults:
            raise RowFaults(asked.faults)
        if not len(asked.inputs):
            return asked, np.empty((0, len(spec.outputs)), np.float32)
        (outputs,) = await self.inference.predict(served, (asked.inputs,))
        return asked, outputs

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


def _check_site(request: Request) -> None:
    """A browser that knows a password also sends it with the forms of other sites' pages."""
    site = request.header("sec-fetch-site")
    if site not in {"", "none", "same-origin"}:
        raise Invalid(f"a form of the page comes from the page itself, not from {site}")


def _version(request: Request) -> int | None:
    text = request.parameter("version")
    if not text:
        return None
    if not text.isdecimal() or len(text) > _LONGEST_VERSION:
        raise NotFound(f"{text!r} is no version: a version is a number")
    return int(text)
