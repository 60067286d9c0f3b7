"""Answers admitted requests: find the version, read, predict, and say what went wrong."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from operator import attrgetter

from msgspec.structs import replace

from rondo_core.errors import RondoError, Unavailable
from rondo_inference.contracts.media import unpacks
from rondo_inference.contracts.messages import Answer, PredictRoute, Request
from rondo_inference.domain.tensors import Tensor
from rondo_inference.domain.trace import trace_id
from rondo_inference.handlers import Inference
from rondo_inference.web.admission import Admission, Admissions, is_site
from rondo_inference.web.aside import INLINE_BYTES, aside
from rondo_inference.web.budget import Budget
from rondo_inference.web.encodings import compressed, decompressed
from rondo_inference.web.refusals import failure, refusal

__all__ = ["AppRules", "HttpApp"]

log = logging.getLogger("rondo_inference.access")

_BYTES: Callable[[Tensor], int] = attrgetter("nbytes")

_REFUSED = 400
"""The least status of a refusal; an enumeration's members take long to look up."""

_CORS = {
    "access-control-allow-origin": "*",
    "access-control-allow-methods": "GET, POST, DELETE, OPTIONS",
    "access-control-allow-headers": "authorization, content-encoding, content-type, "
    "inference-header-content-length, traceparent, x-amz-invocation-type, "
    "x-amzn-sagemaker-inference-id, x-amzn-sagemaker-target-model, x-api-key, x-request-id",
    "access-control-expose-headers": "content-disposition, inference-header-content-length, "
    "retry-after, x-amz-executed-version, x-amz-function-error, "
    "x-amzn-sagemaker-custom-attributes, x-rondo-run, x-rondo-version, x-rondo-warnings",
}
"""Every header that a contract reads or answers; a browser passes on no other of another site."""


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
        admissions: decides what can be decided before the body is read.
        inference: the core.
        readers: threads that read and write large bodies.
        budget: of bodies in memory, also of those that are unpacked.
        rules: see there.
        expected: requests that were read and are not answered; counted by the connections, since
            only they know of those that wait for their turn.
    """

    admissions: Admissions
    inference: Inference
    readers: Executor
    budget: Budget
    rules: AppRules = AppRules()
    expected: int = 0
    _under_way: int = 0

    def expect(self, count: int) -> None:
        """Note that so many more requests were read; negative, that they are done with."""
        self.expected += count

    def admit(self, method: str, path: str, query: str, headers: Mapping[str, str]) -> Admission:
        """See ``Admissions.admit``."""
        return self.admissions.admit(method, path, query, headers)

    def again(self, admission: Admission) -> Admission:
        """See ``Admissions.again``."""
        return self.admissions.again(admission)

    async def respond(self, admission: Admission, body: bytes) -> Answer:
        """Return the answer to one request; raises nothing but cancellation.

        Args:
            admission: its head.
            body: as sent; compressed, if the headers say so.
        """
        start, headers = time.perf_counter(), admission.headers
        answer = admission.refusal or await self._answer(admission, body)
        if answer.status >= _REFUSED and (written := admission.refused) is not None:
            answer = written(answer)
        if "accept-encoding" in headers and len(answer.body) > INLINE_BYTES:
            answer = await self._packed(answer, headers["accept-encoding"])
        if self.rules.cors and is_site(headers):
            answer = replace(answer, headers={**answer.headers, **_CORS})
        self._note(admission, answer, time.perf_counter() - start)
        return answer

    async def _answer(self, admission: Admission, body: bytes) -> Answer:
        self._under_way += 1
        taken = 0
        try:
            if self._under_way > self.rules.max_requests:
                return refusal(self._busy())
            if "content-encoding" in admission.headers:
                body = await self._unpacked(body, admission.headers["content-encoding"])
                taken = self._taken(len(body))
            route, _ = admission.found
            request = admission.request(body)
            if isinstance(route, PredictRoute):
                return await self._predict(route, request)
            answer = route.answer(request)
            return answer if isinstance(answer, Answer) else await answer
        except RondoError as exc:
            return refusal(exc)
        except Exception as exc:  # noqa: BLE001  (the outermost loop; `failure` logs it)
            return failure(exc)
        finally:
            self._under_way -= 1
            if taken:
                self.budget.give(taken)

    def _busy(self) -> Unavailable:
        return Unavailable(f"{self.rules.max_requests} requests are under way; try again")

    def _taken(self, size: int) -> int:
        if not self.budget.take(size):
            raise self.budget.full()
        return size

    async def _predict(self, route: PredictRoute, request: Request) -> Answer:
        served = await self.inference.take(route.target(request))
        try:
            size = len(request.body)
            if size > INLINE_BYTES or unpacks(request, in_json=route.pictures_in_json):
                question = await aside(self.readers, INLINE_BYTES + 1, route.ask, request, served)
            else:  # short, as nearly all are
                question = route.ask(request, served)
            outputs = await self.inference.predict(
                served, question.inputs, beyond=question.beyond, alone=self.expected == 1
            )
            size = sum(map(_BYTES, outputs))
            if size > INLINE_BYTES:
                answer = await aside(self.readers, size, question.answer, outputs)
            else:
                answer = question.answer(outputs)
            headers = route.headers(served, question.beyond)
        except RondoError as exc:
            own = route.refusal(exc) if route.refusal is not None else None
            answer, headers = own or refusal(exc), route.headers(served, ())
        finally:
            self.inference.memory.give(served)
        return Answer(answer.body, answer.media, answer.status, {**answer.headers, **headers})

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

    def _note(self, admission: Admission, answer: Answer, seconds: float) -> None:
        name, headers = admission.name, admission.headers
        self.inference.book.answered(name, answer.status, seconds)
        if self.rules.access_log:
            fields = {
                "route": name,
                "method": admission.method,
                "path": admission.path,
                "status": int(answer.status),
                "seconds": round(seconds, 6),
                "bytes": len(answer.body),
                "version": answer.headers.get("x-rondo-version"),
                "request_id": headers.get("x-request-id"),
                "trace_id": trace_id(headers.get("traceparent", "")),
            }
            log.info("request", extra={key: one for key, one in fields.items() if one is not None})
