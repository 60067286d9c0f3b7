"""gRPC in the event loop of the HTTP server: keys, bounds, bytes and errors of every call."""

from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, TypeAlias

import grpc
from google.protobuf.message import DecodeError, Message

from rondo_core.errors import Invalid, RondoError, Unavailable
from rondo_core.listening import address, open_listeners
from rondo_core.tracing import span
from rondo_inference.handlers import Inference
from rondo_inference.web.access import Access
from rondo_inference.web.aside import aside
from rondo_inference.web.budget import Budget
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
_OPEN = frozenset({"ServerLive", "ServerReady", "Check"})
"""What needs no key."""

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
        max_calls: more at a time are refused by the library.
        readers: threads that read and write large messages.
        budget: of requests in memory, those of HTTP among them.
        access: keys; None: everybody may ask everything.
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
    _server: grpc.aio.Server | None = field(default=None, init=False)

    async def start(self) -> None:
        """Listen.

        Raises:
            Invalid, Unavailable: nobody can listen there; see ``rondo_core.listening``.
        """
        server = grpc.aio.server(
            maximum_concurrent_rpcs=self.max_calls,
            options=[
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

    async def stop(self, seconds: float) -> None:
        """Take no more calls, and let those under way end within ``seconds``."""
        if self._server is not None:
            await self._server.stop(seconds)

    def handlers(self) -> tuple[grpc.GenericRpcHandler, ...]:
        """Return what answers: the protocol, and the standard health service.

        Messages pass the library as bytes, since it would parse them in the event loop.
        """
        methods = GrpcMethods(self.inference, self.ready, self.readers, self.access)
        return tuple(
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

    async def _answer(
        self, name: str, kind: type[Message], method: Method, data: bytes, context: Context
    ) -> bytes:
        try:
            headers = _headers(context)
            with span(name, kind="server", parent=headers.get("traceparent", "")):
                who = self._identify(name, headers)
                return await self._answered(kind, method, who, data)
        except RondoError as exc:
            status = status_of(exc)
            if status is None:
                code, text = grpc.StatusCode.INTERNAL, failure(exc).body.decode()
            else:
                code, text = _CODES.get(status, grpc.StatusCode.INVALID_ARGUMENT), str(exc)
        except Exception as exc:  # noqa: BLE001  (the outermost loop; `failure` logs it)
            code, text = grpc.StatusCode.INTERNAL, failure(exc).body.decode()
        await context.abort(code, text[:_LONGEST_TEXT])
        raise AssertionError

    async def _answered(
        self, kind: type[Message], method: Method, who: str | None, data: bytes
    ) -> bytes:
        size = len(data)
        if not self.budget.take(size):
            raise self.budget.full()
        try:
            request = await aside(self.readers, size, _parsed, kind, data)
            return await method(request, who, size)
        finally:
            self.budget.give(size)

    def _identify(self, name: str, headers: Mapping[str, str]) -> str | None:
        if self.access is None or name in _OPEN:
            return None
        return self.access.identify(headers)


def _headers(context: Context) -> Mapping[str, str]:
    return {str(key): str(value) for key, value in context.invocation_metadata() or ()}


def _parsed(kind: type[Message], data: bytes) -> Message:
    try:
        return kind.FromString(data)
    except DecodeError as exc:
        raise Invalid(f"the message is no {kind.DESCRIPTOR.name}") from exc
