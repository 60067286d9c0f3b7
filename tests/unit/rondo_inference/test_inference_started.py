"""A coroutine that is begun at once, and goes on as a task if it has to wait."""

import asyncio
from collections.abc import Coroutine
from contextvars import ContextVar
from typing import Any

import pytest

from rondo_inference.web.started import started

name = ContextVar("name", default="nobody")


class Work:
    """Waits for a gate, if there is one, and says what happened."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.gate: asyncio.Future[str] | None = None

    async def run(self) -> None:
        self.seen.append("begun")
        name.set("worker")
        try:
            if self.gate is not None:
                self.seen.append(await self.gate)
                await asyncio.sleep(0)
            self.seen.append(name.get())
        except asyncio.CancelledError:
            self.seen.append("cancelled")
            raise
        finally:
            self.seen.append("ended")


def test_what_does_not_wait_is_over_and_needs_no_task() -> None:
    work = Work()

    async def run() -> None:
        assert started(work.run()) is None
        assert work.seen == ["begun", "worker", "ended"]

    asyncio.run(run())


def test_what_waits_goes_on_as_a_task_in_its_own_context() -> None:
    work = Work()

    async def run() -> None:
        work.gate = asyncio.get_running_loop().create_future()
        task = started(work.run())
        assert (work.seen, name.get()) == (["begun"], "nobody")
        assert task is not None
        work.gate.set_result("opened")
        await task

    asyncio.run(run())

    assert work.seen == ["begun", "opened", "worker", "ended"]


def test_what_it_waits_for_may_fail() -> None:
    work = Work()

    async def run() -> None:
        work.gate = asyncio.get_running_loop().create_future()
        task = started(work.run())
        assert task is not None
        work.gate.set_exception(ZeroDivisionError())
        with pytest.raises(ZeroDivisionError):
            await task

    asyncio.run(run())

    assert work.seen == ["begun", "ended"]


@pytest.mark.parametrize(("turns", "seen"), [(0, []), (2, ["cancelled"])])
def test_who_is_cancelled_ends_whether_its_task_has_begun_or_not(
    turns: int, seen: list[str]
) -> None:
    work = Work()

    async def run() -> None:
        work.gate = asyncio.get_running_loop().create_future()
        task = started(work.run())
        assert task is not None
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(run())

    assert work.seen == ["begun", *seen, "ended"]


def test_what_fails_before_it_waits_raises_at_once() -> None:
    async def broken() -> None:
        raise ZeroDivisionError

    async def run(coroutine: Coroutine[Any, Any, None]) -> None:
        with pytest.raises(ZeroDivisionError):
            started(coroutine)

    asyncio.run(run(broken()))
