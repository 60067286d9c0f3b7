"""Who watches the health service, without a channel."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import pytest
from grpc_health.v1.health_pb2 import HealthCheckResponse

from rondo_core.errors import Unavailable
from rondo_inference.web.grpc_health import INFERENCE, Watchers

NOT_SERVING = HealthCheckResponse.NOT_SERVING
SERVING = HealthCheckResponse.SERVING
SERVICE_UNKNOWN = HealthCheckResponse.SERVICE_UNKNOWN


@dataclass
class Process:
    """Says whether it takes requests."""

    ready: bool = False

    def __call__(self) -> bool:
        return self.ready


@dataclass
class Told:
    """Somebody who watches, and what it was told."""

    statuses: list[int] = field(default_factory=list)
    meanwhile: Callable[[], None] = lambda: None

    async def __call__(self, message: bytes) -> None:
        self.statuses.append(HealthCheckResponse.FromString(message).status)
        self.meanwhile()


Watch = Callable[[str, Told], "asyncio.Task[None]"]


def watched(
    watchers: Watchers, play: Callable[[Watch], Awaitable[None]]
) -> list[BaseException | None]:
    """Run a play in which callers begin to watch; end it, and return how each stream ended."""

    async def run() -> list[BaseException | None]:
        tasks: list[asyncio.Task[None]] = []

        def watch(service: str, told: Told) -> "asyncio.Task[None]":
            tasks.append(asyncio.create_task(watchers.watch(service, told)))
            return tasks[-1]

        await play(watch)
        await turns()
        watchers.end()
        return await asyncio.gather(*tasks, return_exceptions=True)

    return asyncio.run(run())


async def turns() -> None:
    """Let everybody go on until they wait."""
    for _ in range(10):
        await asyncio.sleep(0)


def test_oip_7_a_watcher_is_told_at_once_and_after_each_change() -> None:
    process, first, second, third = Process(), Told(), Told(), Told()

    async def play(watch: Watch) -> None:
        watch("", first)
        await turns()
        process.ready = True
        watch(INFERENCE, second)
        await turns()
        process.ready = False
        watch("", third)

    watched(Watchers(process, 3), play)

    assert first.statuses == [NOT_SERVING, SERVING, NOT_SERVING]
    assert second.statuses == [SERVING, NOT_SERVING]
    assert third.statuses == [NOT_SERVING]


def test_oip_7_what_changes_while_a_watcher_is_told_is_told_next() -> None:
    process = Process()
    watchers = Watchers(process, 2)

    def meanwhile() -> None:
        process.ready = not told.statuses[1:]
        watchers._look()  # noqa: SLF001  (as `follow` does)

    told = Told(meanwhile=meanwhile)

    async def play(watch: Watch) -> None:
        watch("", told)

    watched(watchers, play)

    assert told.statuses == [NOT_SERVING, SERVING, NOT_SERVING]


def test_oip_7_a_service_that_is_unknown_is_told_once_and_its_stream_goes_on() -> None:
    process, told, streams = Process(), Told(), []

    async def play(watch: Watch) -> None:
        streams.append(watch("cats", told))
        await turns()
        process.ready = True
        watch("", Told())
        await turns()
        assert not streams[0].done()

    watched(Watchers(process, 2), play)

    assert told.statuses == [SERVICE_UNKNOWN]


def test_oip_7_at_the_end_watchers_are_told_how_it_stands_last_and_to_come_again() -> None:
    process, told, late = Process(ready=True), Told(), Told()
    watchers = Watchers(process, 2)

    async def play(watch: Watch) -> None:
        watch("", told)
        await turns()
        process.ready = False

    async def play_late(watch: Watch) -> None:
        watch("", late)

    ends = watched(watchers, play) + watched(watchers, play_late)

    assert (told.statuses, late.statuses) == ([SERVING, NOT_SERVING], [NOT_SERVING])
    assert [(type(end), str(end)) for end in ends] == [
        (Unavailable, "the server ends; try again")
    ] * 2


@pytest.mark.parametrize("gone", [False, True])
def test_oip_7_so_many_may_watch_and_who_goes_away_makes_room(*, gone: bool) -> None:
    told = Told()

    async def play(watch: Watch) -> None:
        first = watch("", Told())
        await turns()
        if gone:
            first.cancel()
            await turns()
        watch("", told)

    _, end = watched(Watchers(Process(), 1), play)

    assert told.statuses == ([NOT_SERVING] if gone else [])
    assert str(end) == ("the server ends" if gone else "1 callers watch") + "; try again"


def test_oip_7_somebody_looks_for_changes_for_all() -> None:
    process, told = Process(), Told()
    watchers = Watchers(process, 1)

    async def play(watch: Watch) -> None:
        watch("", told)
        await turns()
        process.ready = True
        following: Coroutine[Any, Any, None] = watchers.follow()
        task = asyncio.create_task(following)
        await turns()
        task.cancel()

    watched(watchers, play)

    assert told.statuses == [NOT_SERVING, SERVING]
