"""Watch of gRPC's health service over real channels, by the stub that comes with the protocol."""

import asyncio
import hashlib
import json
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
import uvloop
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from rondo_inference.web.grpc_server import GrpcServer
from rondo_local.readiness import free_port
from tests.unit.rondo_inference.asked import Service, running

SECONDS = 60.0
LONGER = 1000 * SECONDS
NOT_SERVING = HealthCheckResponse.NOT_SERVING
SERVING = HealthCheckResponse.SERVING
SERVICE_UNKNOWN = HealthCheckResponse.SERVICE_UNKNOWN


@dataclass(frozen=True, slots=True)
class Served:
    """A server of gRPC, and somebody who asks it.

    Attributes:
        service: what it serves.
        server: the server.
        channel: to it.
        draining: it says that it is not ready from then on.
    """

    service: Service
    server: GrpcServer
    channel: grpc.aio.Channel
    draining: threading.Event

    @property
    def health(self) -> Any:
        return HealthStub(self.channel)

    def watch(self, service: str = "") -> Any:
        return self.health.Watch(HealthCheckRequest(service=service))


@asynccontextmanager
async def serving(service: Service, **options: Any) -> AsyncIterator[Served]:
    app, draining, port = service.app, threading.Event(), free_port()
    server = GrpcServer(
        app.inference,
        lambda: service.catalogue.ready and not draining.is_set(),
        "127.0.0.1",
        port,
        200_000,
        options.pop("max_calls", 10),
        app.readers,
        app.budget,
        app.admissions.access,
        **options,
    )
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield Served(service, server, channel, draining)
    finally:
        await server.stop(0)


def play(scene: Callable[[], Awaitable[None]]) -> None:
    async def run() -> None:
        async with asyncio.timeout(SECONDS):
            await scene()

    uvloop.run(run())


async def status(stream: Any) -> int:
    """Read the next status of a stream."""
    found: int = (await stream.read()).status
    return found


async def code(stream: Any) -> tuple[grpc.StatusCode, str]:
    """Read a stream to its end; return what it ended with."""
    with suppress(grpc.RpcError):
        while await stream.read() is not grpc.aio.EOF:
            pass
    return await stream.code(), await stream.details()


async def status_in_the_end(served: Served) -> int:
    """Watch as soon as there is room; return what is told first."""
    while True:
        try:
            return await status(served.watch())
        except grpc.RpcError as exc:
            assert exc.code() is grpc.StatusCode.UNAVAILABLE  # noqa: PT017  (else try again)
        await asyncio.sleep(0.1)


@pytest.fixture
def service() -> Iterator[Service]:
    with running() as found:
        yield found


@pytest.mark.parametrize("name", ["", "inference.GRPCInferenceService"])
def test_oip_7_watch_tells_the_status_at_once_and_every_change(service: Service, name: str) -> None:
    told = []

    async def scene() -> None:
        async with serving(service) as found:
            stream = found.watch(name)
            told.append(await status(stream))
            await asyncio.to_thread(service.catalogue.settle)
            told.append(await status(stream))
            found.draining.set()
            told.append(await status(stream))

    play(scene)

    assert told == [NOT_SERVING, SERVING, NOT_SERVING]


def test_oip_7_the_watch_of_an_unknown_service_goes_on_until_its_caller_ends_it(
    service: Service,
) -> None:
    ends = []

    async def scene() -> None:
        async with serving(service) as found:
            unknown, known = found.watch("cats"), found.watch()
            assert (await status(unknown), await status(known)) == (SERVICE_UNKNOWN, NOT_SERVING)
            service.catalogue.settle()
            assert await status(known) == SERVING
            assert not unknown.done()
            unknown.cancel()
            ends.append(await unknown.code())

    play(scene)

    assert ends == [grpc.StatusCode.CANCELLED]


def test_oip_7_who_watches_does_not_hold_up_the_end_and_is_told_to_come_again(
    service: Service,
) -> None:
    ends = []

    async def scene() -> None:
        async with serving(service) as found:
            service.catalogue.settle()
            streams = [found.watch(), found.watch("cats")]
            assert [await status(one) for one in streams] == [SERVING, SERVICE_UNKNOWN]
            await found.server.stop(LONGER)
            ends.extend([await code(one) for one in streams])

    play(scene)

    assert ends == [(grpc.StatusCode.UNAVAILABLE, "the server ends; try again")] * 2


def test_oip_7_watchers_take_no_place_of_requests_and_have_a_bound_of_their_own(
    service: Service,
) -> None:
    async def scene() -> None:
        async with serving(service, max_calls=1, max_watchers=2) as found:
            streams = [found.watch() for _ in range(2)]
            assert [await status(one) for one in streams] == [NOT_SERVING] * 2

            answer = await found.health.Check(HealthCheckRequest())
            refused = await code(found.watch())

            assert answer.status == NOT_SERVING
            assert refused == (grpc.StatusCode.UNAVAILABLE, "2 callers watch; try again")
            streams[0].cancel()
            assert await status_in_the_end(found) == NOT_SERVING

    play(scene)


class Held(ThreadPoolExecutor):
    """Threads that begin with nothing until they are let go."""

    def __init__(self) -> None:
        super().__init__(1)
        self.asked = asyncio.Event()
        self.go = threading.Event()
        super().submit(self.go.wait, SECONDS)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.asked.set()
        return super().submit(fn, *args, **kwargs)


def test_oip_7_the_places_of_watchers_are_not_for_requests(service: Service) -> None:
    large = b"\xff" * 100_000
    ends: list[tuple[grpc.StatusCode, str]] = []

    async def scene() -> None:
        async with serving(service, max_calls=1, max_watchers=10) as found:
            infer: Any = found.channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
            first = infer(large)
            await held.asked.wait()
            second = infer(b"")
            ends.append((await second.code(), await second.details()))
            held.go.set()
            ends.append((await first.code(), await first.details()))

    with Held() as held:
        service.app.readers = held
        play(scene)

    assert ends == [
        (grpc.StatusCode.UNAVAILABLE, "1 calls are under way; try again"),
        (grpc.StatusCode.INVALID_ARGUMENT, "the message is no ModelInferRequest"),
    ]


@pytest.mark.parametrize("request_", [b"\xff", HealthCheckRequest(service="x" * 1000)])
def test_oip_7_a_watch_that_is_no_message_or_a_long_one_is_refused(
    service: Service, request_: Any
) -> None:
    ends = []

    async def scene() -> None:
        async with serving(service) as found:
            watch: Any = found.channel.unary_stream("/grpc.health.v1.Health/Watch")
            data = request_ if isinstance(request_, bytes) else request_.SerializeToString()
            ends.append(await code(watch(data)))

    play(scene)

    assert ends[0][0] is grpc.StatusCode.INVALID_ARGUMENT


def test_oip_7_watch_needs_no_key_as_other_health_does(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text(json.dumps([{"sha256": hashlib.sha256(b"all").hexdigest()}]))
    told: list[int] = []

    async def scene() -> None:
        async with serving(guarded) as found:
            told.append(await status(found.watch()))

    with running(api_keys_file=str(tmp_path / "keys")) as guarded:
        play(scene)

    assert told == [NOT_SERVING]


def test_oip_7_who_vanished_without_a_word_watches_no_longer(service: Service) -> None:
    """A router that goes down: nothing comes any more, and no connection is closed."""

    async def scene() -> None:
        async with (
            serving(service, max_watchers=1, keepalive_seconds=1) as found,
            silenced(found.server.port) as (port, silence),
            grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
        ):
            health: Any = HealthStub(channel)
            lost = health.Watch(HealthCheckRequest())
            assert await status(lost) == NOT_SERVING
            silence.set()
            assert await status_in_the_end(found) == NOT_SERVING

    play(scene)


@asynccontextmanager
async def silenced(port: int) -> AsyncIterator[tuple[int, asyncio.Event]]:
    """Pass everything on to a port, both ways, until the event is set; then nothing."""
    silence = asyncio.Event()

    async def passed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(65536):
            if not silence.is_set():
                writer.write(piece)
        writer.close()

    async def through(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, to_there = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(passed(reader, to_there), passed(there, writer))

    proxy = await asyncio.start_server(through, "127.0.0.1", 0)
    yield proxy.sockets[0].getsockname()[1], silence
    proxy.close()
