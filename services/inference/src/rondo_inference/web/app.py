"""Answers requests: find the route, find the version, read, predict, and say what went wrong."""

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from http import HTTPStatus

from rondo_core.errors import Invalid, NotFound, RondoError, Unavailable
from rondo_inference.contracts.media import unpacks
from rondo_inference.contracts.messages import (
    Answer,
    PredictRoute,
    Request,
    Route,
    WaitRoute,
    json_answer,
)
from rondo_inference.contracts.table import AnyRoute
from rondo_inference.domain.tensors import Tensors
from rondo_inference.domain.trace import trace_id
from rondo_inference.handlers import Inference
from rondo_inference.registry.served import ServedModel
from rondo_inference.web.access import Access
from rondo_inference.web.aside import INLINE_BYTES, aside
from rondo_inference.web.encodings import compressed, decompressed
from rondo_inference.web.refusals import failure, refusal

__all__ = ["AppRules", "HttpApp"]

log = logging.getLogger("rondo_inference.access")

REMEMBERED_PATHS = 4096

_CORS = {
    "access-control-allow-origin": "*",
    "access-control-allow-methods": "GET, POST, DELETE, OPTIONS",
    "access-control-allow-headers": "authorization, content-type, x-api-key, x-request-id",
}


@dataclass(frozen=True, slots=True)
class AppRules:
    """How requests are treated.

    Attributes:
        max_body_bytes: a longer body, or one that unpacks to more, is refused.
        max_requests: so many may be under way; more are refused at once.
        cors: whether pages of other sites may ask.
        access_log: whether each request is a line of the log, without its payload.
    """

    max_body_bytes: int = 25 * 1024 * 1024
    max_requests: int = 1024
    cors: bool = False
    access_log: bool = False


@dataclass(slots=True)
class HttpApp:
    """No framework stands between a request and its model. Used by one event loop.

    Attributes:
        routes: of all contracts; the first that matches answers.
        inference: the core.
        readers: threads that read and write large bodies.
        rules: see there.
        access: keys; None: everybody may ask everything.
        expected: requests that were read and are not answered; counted by the connections, since
            only they know of those that wait for their turn.
    """

    routes: Sequence[AnyRoute]
    inference: Inference
    readers: Executor
    rules: AppRules = AppRules()
    access: Access | None = None
    _paths: dict[tuple[str, str], tuple[AnyRoute, dict[str, str]]] = field(default_factory=dict)
    expected: int = 0
    _under_way: int = 0

    def expect(self, count: int) -> None:
        """Note that so many more requests were read; negative, that they are done with."""
        self.expected += count

    async def respond(
        self, method: str, path: str, query: str, headers: Mapping[str, str], body: bytes
    ) -> Answer:
        """Return the answer to one request; raises nothing but cancellation.

        Args:
            method: in capitals.
            path: percent-decoded.
            query: as sent.
            headers: by lower-case name.
            body: as sent; compressed, if the headers say so.
        """
        start, name = time.perf_counter(), "unknown"
        self._under_way += 1
        try:
            self._check_load()
            found = self._found(method, path, headers)
            if isinstance(found, Answer):
                answer = found
            else:
                route, groups = found
                name = route.name
                if "content-encoding" in headers:
                    body = await self._unpacked(body, headers["content-encoding"])
                answer = await self._answer(route, Request(groups, headers, query, body))
        except RondoError as exc:
            answer = refusal(exc)
        except Exception as exc:  # noqa: BLE001  (the outermost loop; `failure` logs it)
            answer = failure(exc)
        finally:
            self._under_way -= 1
        if "accept-encoding" in headers and len(answer.body) > INLINE_BYTES:
            answer = await self._packed(answer, headers["accept-encoding"])
        if self.rules.cors and _is_site(headers):
            answer = replace(answer, headers={**answer.headers, **_CORS})
        self._note(name, method, path, headers, answer, time.perf_counter() - start)
        return answer

    def _check_load(self) -> None:
        if self._under_way > self.rules.max_requests:
            raise Unavailable(f"{self.rules.max_requests} requests are under way; try again")

    def _found(
        self, method: str, path: str, headers: Mapping[str, str]
    ) -> "tuple[AnyRoute, dict[str, str]] | Answer":
        if method == "OPTIONS" and self.rules.cors:
            if not _is_site(headers):
                raise Invalid("OPTIONS needs an Origin of http or https")
            return Answer()
        return self._route("GET" if method == "HEAD" else method, path)

    def _route(self, method: str, path: str) -> "tuple[AnyRoute, dict[str, str]] | Answer":
        remembered = self._paths.get((method, path))
        if remembered is not None:
            return remembered
        allowed = []
        for route in self.routes:
            if match := route.pattern.fullmatch(path):
                if route.method == method:
                    groups = {key: text for key, text in match.groupdict().items() if text}
                    if len(self._paths) < REMEMBERED_PATHS:
                        self._paths[method, path] = route, groups
                    return route, groups
                allowed.append(route.method)
        if allowed:
            text = f"{method} is not allowed here"
            refused = json_answer({"error": text}, status=HTTPStatus.METHOD_NOT_ALLOWED)
            return replace(refused, headers={"allow": ", ".join(allowed)})
        raise NotFound(f"no such path: {path}")

    async def _answer(self, route: AnyRoute, request: Request) -> Answer:
        who = None
        if self.access is not None and not (isinstance(route, Route) and route.open):
            browser = not isinstance(route, PredictRoute) and route.browser
            who = self.access.identify(request.headers, browser=browser)
            self._check(self.access, who, route, request)
        if isinstance(route, Route):
            return route.answer(request)
        if isinstance(route, WaitRoute):
            return await route.answer(request)
        return await self._predict(route, request, who)

    def _check(self, access: Access, who: str, route: AnyRoute, request: Request) -> None:
        name = request.path.get("model") or request.path.get("name")
        if name:
            access.check_model(who, name)
        elif isinstance(route, WaitRoute) or (isinstance(route, Route) and not route.about_server):
            access.check_everything(who)

    async def _predict(self, route: PredictRoute, request: Request, who: str | None) -> Answer:
        target = route.target(request)
        if self.access is not None and who is not None:
            name = target.model or self.inference.catalogue.only_name()
            self.access.check_model(who, name)
        served = await self.inference.take(target)
        try:
            answer = await self._ask(route, request, served)
        except RondoError as exc:
            own = route.refusal(exc) if route.refusal is not None else None
            answer = own or refusal(exc)
        finally:
            self.inference.memory.give(served)
        headers = {**answer.headers, **route.headers(served)}
        return Answer(answer.body, answer.media, answer.status, headers)

    async def _ask(self, route: PredictRoute, request: Request, served: ServedModel) -> Answer:
        size = INLINE_BYTES + 1 if unpacks(request) else len(request.body)
        question = await aside(self.readers, size, route.ask, request, served)
        outputs = await self.inference.predict(served, question.inputs, alone=self.expected == 1)
        return await aside(self.readers, _size(outputs), question.answer, outputs)

    async def _unpacked(self, body: bytes, encoding: str) -> bytes:
        def unpack() -> bytes:
            return decompressed(body, encoding, max_bytes=self.rules.max_body_bytes)

        return await asyncio.get_running_loop().run_in_executor(self.readers, unpack)

    async def _packed(self, answer: Answer, accepted: str) -> Answer:
        if "gzip" not in accepted.lower():
            return answer
        loop = asyncio.get_running_loop()
        body = await loop.run_in_executor(self.readers, compressed, answer.body)
        return replace(answer, body=body, headers={**answer.headers, "content-encoding": "gzip"})

    def _note(  # noqa: PLR0917  (a line of the log has many fields)
        self,
        name: str,
        method: str,
        path: str,
        headers: Mapping[str, str],
        answer: Answer,
        seconds: float,
    ) -> None:
        self.inference.book.answered(name, answer.status, seconds)
        if self.rules.access_log:
            fields = {
                "route": name,
                "method": method,
                "path": path,
                "status": int(answer.status),
                "seconds": round(seconds, 6),
                "bytes": len(answer.body),
                "version": answer.headers.get("x-rondo-version"),
                "request_id": headers.get("x-request-id"),
                "trace_id": trace_id(headers.get("traceparent", "")),
            }
            log.info("request", extra={key: one for key, one in fields.items() if one is not None})


def _is_site(headers: Mapping[str, str]) -> bool:
    return headers.get("origin", "").startswith(("http://", "https://"))


def _size(outputs: Tensors) -> int:
    return sum(tensor.nbytes for tensor in outputs)
