"""The Open Inference Protocol over gRPC, in the event loop of the HTTP server.

Source: kserve/open-inference-protocol (inference_grpc.md), Triton's repository and statistics
extensions, and the gRPC health checking protocol (grpc.health.v1).
"""

from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, TypeAlias

import grpc
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2

from rondo_core.errors import Invalid, NotFound, RondoError
from rondo_inference.contracts import oip, oip_repository
from rondo_inference.contracts import oip_pb2 as pb
from rondo_inference.contracts.oip_messages import (
    decode_request,
    describe_tensor,
    encode_response,
    encode_statistics,
)
from rondo_inference.handlers import Inference, Target
from rondo_inference.web.access import Access
from rondo_inference.web.aside import aside
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
Method = Callable[[Any, str | None], Awaitable[Message]]


@dataclass
class GrpcServer:
    """Speaks gRPC; starts and stops with the HTTP server.

    Attributes:
        inference: the core.
        ready: whether the process takes requests.
        address: ``host:port``.
        max_message_bytes: a longer request is refused by the library.
        max_calls: more at a time are refused by the library.
        readers: threads that read and write large messages.
        access: keys; None: everybody may ask everything.
    """

    inference: Inference
    ready: Callable[[], bool]
    address: str
    max_message_bytes: int
    max_calls: int
    readers: Executor
    access: Access | None = None
    _server: grpc.aio.Server | None = field(default=None, init=False)

    async def start(self) -> None:
        """Listen."""
        server = grpc.aio.server(
            maximum_concurrent_rpcs=self.max_calls,
            options=[
                ("grpc.max_receive_message_length", self.max_message_bytes),
                ("grpc.max_send_message_length", -1),
                ("grpc.so_reuseport", 0),
            ],
        )
        server.add_generic_rpc_handlers(self.handlers())
        server.add_insecure_port(self.address)
        await server.start()
        self._server = server

    async def stop(self, seconds: float) -> None:
        """Take no more calls, and let those under way end within ``seconds``."""
        if self._server is not None:
            await self._server.stop(seconds)

    def handlers(self) -> tuple[grpc.GenericRpcHandler, ...]:
        """Return what answers: the protocol, and the standard health service."""
        return self._service(), self._health_service()

    def _service(self) -> grpc.GenericRpcHandler:
        methods: dict[str, tuple[type[Message], Method]] = {
            "ServerLive": (pb.ServerLiveRequest, self._live),
            "ServerReady": (pb.ServerReadyRequest, self._ready),
            "ServerMetadata": (pb.ServerMetadataRequest, self._metadata),
            "ModelReady": (pb.ModelReadyRequest, self._model_ready),
            "ModelMetadata": (pb.ModelMetadataRequest, self._model_metadata),
            "ModelInfer": (pb.ModelInferRequest, self._infer),
            "ModelStatistics": (pb.ModelStatisticsRequest, self._statistics),
            "RepositoryIndex": (pb.RepositoryIndexRequest, self._index),
            "RepositoryModelLoad": (pb.RepositoryModelLoadRequest, self._load),
            "RepositoryModelUnload": (pb.RepositoryModelUnloadRequest, self._unload),
        }
        return self._handlers("inference.GRPCInferenceService", methods)

    def _health_service(self) -> grpc.GenericRpcHandler:
        methods: dict[str, tuple[type[Message], Method]] = {
            "Check": (health_pb2.HealthCheckRequest, self._check_health)
        }
        return self._handlers("grpc.health.v1.Health", methods)

    def _handlers(
        self, service: str, methods: Mapping[str, tuple[type[Message], Method]]
    ) -> grpc.GenericRpcHandler:
        return grpc.method_handlers_generic_handler(
            service,
            {
                name: grpc.unary_unary_rpc_method_handler(
                    self._guarded(name, method),
                    request_deserializer=kind.FromString,
                    response_serializer=lambda message: message.SerializeToString(),
                )
                for name, (kind, method) in methods.items()
            },
        )

    def _guarded(
        self, name: str, method: Method
    ) -> Callable[[Message, Context], Awaitable[Message]]:
        async def answer(request: Message, context: Context) -> Message:
            try:
                return await method(request, self._identify(name, context))
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

        return answer

    def _identify(self, name: str, context: Context) -> str | None:
        if self.access is None or name in _OPEN:
            return None
        pairs = context.invocation_metadata() or ()
        return self.access.identify({str(key): str(value) for key, value in pairs})

    def _check_model(self, who: str | None, model: str) -> None:
        if self.access is not None and who is not None:
            if model:
                self.access.check_model(who, model)
            else:
                self.access.check_everything(who)

    async def _live(self, _: pb.ServerLiveRequest, who: str | None) -> Message:
        del who
        return pb.ServerLiveResponse(live=True)

    async def _ready(self, _: pb.ServerReadyRequest, who: str | None) -> Message:
        del who
        return pb.ServerReadyResponse(ready=self.ready())

    async def _metadata(self, _: pb.ServerMetadataRequest, who: str | None) -> Message:
        del who
        name, version = oip.server_name()
        return pb.ServerMetadataResponse(name=name, version=version, extensions=oip.EXTENSIONS)

    async def _model_ready(self, request: pb.ModelReadyRequest, who: str | None) -> Message:
        self._check_model(who, request.name)
        slot = self.inference.catalogue.resolve(request.name, version=_number(request.version))
        return pb.ModelReadyResponse(ready=slot.served is not None)

    async def _model_metadata(self, request: pb.ModelMetadataRequest, who: str | None) -> Message:
        self._check_model(who, request.name)
        target = Target(request.name, version=_number(request.version))
        async with self.inference.lease(target) as served:
            return pb.ModelMetadataResponse(
                name=served.name,
                versions=[str(one) for one in self.inference.catalogue.versions(served.name)],
                platform=oip.PLATFORM,
                inputs=[describe_tensor(info) for info in served.signature.inputs],
                outputs=[describe_tensor(info) for info in served.signature.outputs],
            )

    async def _infer(self, request: pb.ModelInferRequest, who: str | None) -> Message:
        self._check_model(who, request.model_name)
        target = Target(request.model_name, version=_number(request.model_version), key=request.id)
        async with self.inference.lease(target) as served:
            inputs = await aside(self.readers, request.ByteSize(), decode_request, request, served)
            outputs = await self.inference.predict(served, inputs)
            size = sum(tensor.nbytes for tensor in outputs)
            return await aside(self.readers, size, encode_response, request, served, outputs)

    async def _statistics(self, request: pb.ModelStatisticsRequest, who: str | None) -> Message:
        self._check_model(who, request.name)
        found = oip_repository.statistics(
            self.inference, request.name or None, _number(request.version)
        )
        return pb.ModelStatisticsResponse(model_stats=[encode_statistics(*one) for one in found])

    async def _index(self, request: pb.RepositoryIndexRequest, who: str | None) -> Message:
        self._check_model(who, "")
        entries = oip_repository.repository_index(self.inference.catalogue, ready=request.ready)
        kind = pb.RepositoryIndexResponse.ModelIndex
        return pb.RepositoryIndexResponse(
            models=[
                kind(name=one.name, version=one.version, state=one.state, reason=one.reason)
                for one in entries
            ]
        )

    async def _load(self, request: pb.RepositoryModelLoadRequest, who: str | None) -> Message:
        self._check_model(who, request.model_name)
        await oip_repository.load(self.inference, request.model_name)
        return pb.RepositoryModelLoadResponse()

    async def _unload(self, request: pb.RepositoryModelUnloadRequest, who: str | None) -> Message:
        self._check_model(who, request.model_name)
        await oip_repository.unload(self.inference, request.model_name)
        return pb.RepositoryModelUnloadResponse()

    async def _check_health(
        self, request: health_pb2.HealthCheckRequest, who: str | None
    ) -> Message:
        del who
        if request.service not in {"", "inference.GRPCInferenceService"}:
            raise NotFound(f"no such service: {request.service}")
        status = health_pb2.HealthCheckResponse
        serving = self.ready()
        return status(status=status.SERVING if serving else status.NOT_SERVING)


def _number(version: str) -> int | None:
    if not version:
        return None
    if not (version.isascii() and version.isdigit() and len(version) <= 18):  # noqa: PLR2004
        raise Invalid(f"version {version[:20]!r} is not a number")
    return int(version)
