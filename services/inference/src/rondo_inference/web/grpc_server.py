"""gRPC in the event loop of the HTTP server: keys, bounds, bytes and errors of every call."""

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, TypeAlias, TypeVar

import grpc
from google.protobuf.message import DecodeError, Message
from grpc_health.v1.health_pb2 import HealthCheckRequest

from rondo_core.errors import Invalid, RondoError, Unavailable
from rondo_core.listening import address, open_listeners
from rondo_core.tracing import span
from rondo_inference.handlers import Inference
from rondo_inference.web.access import Access
from rondo_inference.web.aside import aside
from rondo_inference.web.budget import Budget
from rondo_inference.web.grpc_health import HEALTH, LONGEST_REQUEST, MOST_WATCHERS, Watchers
from rondo_inference.web.grpc_methods import REQUESTS, GrpcMethods, Method
from rondo_inference.web.refusals import failure, status_of

__all__ = ["GrpcServer"]

_CODES: Mapping[HTTPStatus, grpc.StatusCode] = MappingProxyType(
    {
        HTTPStatus.BAD_REQUEST: grpc.StatusCode.INVALID_ARGUMENT,
        HTTPStatus.UNAUTHORIZED: grpc.StatusCode.UNAUTHENTICATED,
        HTTPStatus.FORBIDDEN: grpc.StatusCode.PERMISSION_DENIED,
        HTTPStatus.NOT_FOUND: grpc.StatusCode.NOT_FOUND,
        HTTPStatus.CONFLICT: grpc.StatusCode.ALREADY_EXISTS,
        HTTPStatus.TOO_MANY_REQUESTS: grpc.StatusCode.RESOURCE_EXHAUSTED,
        HTTPStatus.INSUFFICIENT_STORAGE: grpc.StatusCode.RESOURCE_EXHAUSTED,
        HTTPStatus.SERVICE_UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
    }
)
_LONGEST_TEXT = 2000
_KEEPALIVE_SECONDS = 60.0
_OPEN = frozenset({"ServerLive", "ServerReady", "Check"})
"""What needs no key."""

Kind = TypeVar("Kind", bound=Message)
Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


@dataclass
class GrpcServer:
    """Speaks gRPC; starts and stops with the HTTP server.

    Attributes:
        inference: the core.
        ready: whether the process takes requests.
        host: address to listen on.
        port: its port.
        max_message_bytes: a longer request is refused by the library.
        max_calls: so many may be under way; more are refused. Who watches is not among them.
        readers: threads that read and write large messages.
        budget: of requests in memory, those of HTTP among them.
        access: keys; None: everybody may ask everything.
        max_watchers: so many may watch the health service.
        keepalive_seconds: how often a caller who waits for something is asked whether it is still
            there; the streams of one that does not answer are ended.
    """

    inference: Inference
    ready: Callable[[], bool]
    host: str
    port: int
    max_message_bytes: int
    max_calls: int
    readers: Executor
    budget: Budget
    access: Access | None = None
    max_watchers: int = MOST_WATCHERS
    keepalive_seconds: float = _KEEPALIVE_SECONDS
    _under_way: int = field(default=0, init=False)
    _watchers: Watchers = field(init=False)
    _following: "asyncio.Task[None] | None" = field(default=None, init=False)
    _server: grpc.aio.Server | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._watchers = Watchers(self.ready, self.max_watchers)

    async def start(self) -> None:
        """Listen.

        Raises:
            Invalid, Unavailable: nobody can listen there; see ``rondo_core.listening``.
        """
        server = grpc.aio.server(
            maximum_concurrent_rpcs=self.max_calls + self.max_watchers,
            options=[
                # Nothing is sent to who watches for days; else the end of its machine stays unseen.
                ("grpc.keepalive_time_ms", round(1000 * self.keepalive_seconds)),
                ("grpc.http2.max_pings_without_data", 0),
                ("grpc.http2.ping_timeout_ms", round(1000 * self.keepalive_seconds)),
                ("grpc.max_receive_message_length", self.max_message_bytes),
                ("grpc.max_send_message_length", -1),
                ("grpc.so_reuseport", 0),
            ],
        )
        server.add_generic_rpc_handlers(self.handlers())
        # The library does not tell why it cannot listen; whoever tries before it learns it.
        for listener in open_listeners(self.host, self.port, backlog=1):
            listener.close()
        try:
            server.add_insecure_port(address(self.host, self.port))
        except RuntimeError as exc:
            raise Unavailable(f"cannot listen on {address(self.host, self.port)}") from exc
        await server.start()
        self._server = server
        self._following = asyncio.create_task(self._watchers.follow())

    async def stop(self, seconds: float) -> None:
        """Take no more calls, and let those under way end within ``seconds``; who watches, now."""
        if self._server is None or self._following is None:
            return
        self._following.cancel()
        self._watchers.end()
        await self._server.stop(seconds)

    def handlers(self) -> tuple[grpc.GenericRpcHandler, ...]:
        """Return what answers: the protocol, and the standard health service.

        Messages pass the library as bytes, since it would parse them in the event loop.
        """
        methods = GrpcMethods(self.inference, self.ready, self.readers, self.access)
        answering = (
            grpc.method_handlers_generic_handler(
                service,
                {
                    name: grpc.unary_unary_rpc_method_handler(
                        partial(self._answer, name, kind, methods.named(name))
                    )
                    for name, kind in requests.items()
                },
            )
            for service, requests in REQUESTS.items()
        )
        watch: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
            "Watch": grpc.unary_stream_rpc_method_handler(self._watch)
        }
        return (*answering, grpc.method_handlers_generic_handler(HEALTH, watch))

    async def _answer(
        self, name: str, kind: type[Message], method: Method, data: bytes, context: Context
    ) -> bytes:
        try:
            headers = _headers(context)
            with span(name, kind="server", parent=headers.get("traceparent", "")):
                who = self._identify(name, headers)
                return await self._answered(kind, method, who, data)
        except Exception as exc:  # noqa: BLE001  (the outermost loop)
            code, text = _refusal(exc)
        await context.abort(code, text)
        raise AssertionError

    async def _watch(self, data: bytes, context: Context) -> None:
        try:
            await self._watchers.watch(_service(data), context.write)
        except Exception as exc:  # noqa: BLE001  (the outermost loop)
            code, text = _refusal(exc)
        await context.abort(code, text)

    async def _answered(
        self, kind: type[Message], method: Method, who: str | None, data: bytes
    ) -> bytes:
        size = len(data)
        if self._under_way >= self.max_calls:
            raise Unavailable(f"{self.max_calls} calls are under way; try again")
        if not self.budget.take(size):
            raise self.budget.full()
        self._under_way += 1
        try:
            request = await aside(self.readers, size, _parsed, kind, data)
            return await method(request, who, size)
        finally:
            self._under_way -= 1
            self.budget.give(size)

    def _identify(self, name: str, headers: Mapping[str, str]) -> str | None:
        if self.access is None or name in _OPEN:
            return None
        return self.access.identify(headers)


def _headers(context: Context) -> Mapping[str, str]:
    return {str(key): str(value) for key, value in context.invocation_metadata() or ()}


def _refusal(exc: Exception) -> tuple[grpc.StatusCode, str]:
    """Return what a call that fails ends with; what is our fault is logged."""
    status = status_of(exc) if isinstance(exc, RondoError) else None
    if status is None:
        return grpc.StatusCode.INTERNAL, failure(exc).body.decode()
    return _CODES.get(status, grpc.StatusCode.INVALID_ARGUMENT), str(exc)[:_LONGEST_TEXT]


def _service(data: bytes) -> str:
    if len(data) > LONGEST_REQUEST:
        raise Invalid(f"who watches asks with {len(data)} bytes; at most {LONGEST_REQUEST} will do")
    return _parsed(HealthCheckRequest, data).service


def _parsed(kind: type[Kind], data: bytes) -> Kind:
    try:
        return kind.FromString(data)
    except DecodeError as exc:
        raise Invalid(f"the message is no {kind.DESCRIPTOR.name}") from exc
