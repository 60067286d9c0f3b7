"""A transport that breaks and refuses when it is told to; what it carries is its subclass's."""

import re
from collections import deque
from collections.abc import Callable
from email.utils import format_datetime

import httpx
import msgspec

from rondo_core import wire
from rondo_core.testing import ManualClock

__all__ = ["FaultyTransport", "Refusal", "Stopped", "stop"]

Fault = Callable[[httpx.Request], httpx.Response]


class Stopped(BaseException):
    """Stands for SIGKILL: nothing catches it."""


def stop(_: httpx.Request) -> httpx.Response:
    """Fault: the client's program is killed while it waits for this answer."""
    raise Stopped


class Refusal(Exception):
    def __init__(self, status: int, code: str, message: str = "as scripted") -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message

    def response(self) -> httpx.Response:
        body = wire.Problem(code=self.code, message=self.message, correlation_id="c0ffee")
        return httpx.Response(self.status, content=msgspec.json.encode(body))


class FaultyTransport(httpx.BaseTransport):
    """Notes every request, and answers some with a fault.

    Attributes:
        requests: "METHOD path" of everything that arrived, oldest first.
    """

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.requests: list[str] = []
        self._faults: deque[tuple[str, Fault]] = deque()

    def fail(self, pattern: str, status: int, code: str, *, times: int = 1) -> None:
        """Refuse the next requests whose "METHOD path" matches."""
        self.fault(pattern, lambda _: Refusal(status, code).response(), times=times)

    def drop(self, pattern: str, *, times: int = 1, served: bool = False) -> None:
        """Break connections, before the request had its effect or (``served``) after it."""

        def broken(request: httpx.Request) -> httpx.Response:
            if served:
                self._serve(request)
            raise httpx.ConnectError("connection refused", request=request)

        self.fault(pattern, broken, times=times)

    def fault(self, pattern: str, fault: Fault, *, times: int = 1) -> None:
        self._faults.extend([(pattern, fault)] * times)

    def count(self, pattern: str) -> int:
        return sum(re.search(pattern, line) is not None for line in self.requests)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.read()
        line = f"{request.method} {request.url.path}"
        self.requests.append(line)
        fault = next((entry for entry in self._faults if re.search(entry[0], line)), None)
        if fault is not None:
            self._faults.remove(fault)
        response = self._serve(request) if fault is None else fault[1](request)
        response.headers["Date"] = format_datetime(self.clock.now(), usegmt=True)
        return response

    def _serve(self, request: httpx.Request) -> httpx.Response:
        raise NotImplementedError
