"""HTTP calls to an application in process, one by one or several at once, without a socket."""

import asyncio
import itertools
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx
from fastapi import FastAPI

__all__ = ["Http", "turns_until"]

Result = TypeVar("Result")


async def turns_until(what: Callable[[], bool]) -> None:
    """Let the event loop turn until something holds; the test's time limit ends it."""
    for _ in itertools.count():
        if what():
            return
        await asyncio.sleep(0)


class Http:
    """Runs the application in an event loop that turns only during calls.

    Attributes:
        client: for calls inside ``run``.
    """

    def __init__(self, app: FastAPI) -> None:
        self._runner = asyncio.Runner()
        self._lifespan = app.router.lifespan_context(app)
        transport = httpx.ASGITransport(app=app)
        self.client = httpx.AsyncClient(transport=transport, base_url="http://gateway.test")

    def __enter__(self) -> Self:
        self.run(self._lifespan.__aenter__())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, at: TracebackType | None
    ) -> None:
        self.run(self.client.aclose())
        self.run(self._lifespan.__aexit__(kind, exc, at))
        self._runner.close()

    def run(self, scenario: Coroutine[Any, Any, Result]) -> Result:
        """Run several calls at once, and what happens between them."""
        return self._runner.run(scenario)

    def get(self, url: str, **options: Any) -> httpx.Response:
        return self.run(self.client.get(url, **options))

    def put(self, url: str, **options: Any) -> httpx.Response:
        return self.run(self.client.put(url, **options))

    def post(self, url: str, **options: Any) -> httpx.Response:
        return self.run(self.client.post(url, **options))
