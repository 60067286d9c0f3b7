"""What each call of the Open Inference Protocol over gRPC does.

Source: kserve/open-inference-protocol (inference_grpc.md), Triton's repository and statistics
extensions, and the gRPC health checking protocol (grpc.health.v1).
"""

from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any

from google.protobuf.message import Message
from grpc_health.v1 import health_pb2

from rondo_core.errors import Invalid, NotFound
from rondo_core.input_bounds import Beyond
from rondo_inference.checks import beyond_bounds
from rondo_inference.contracts import oip, oip_repository
from rondo_inference.contracts import oip_pb2 as pb
from rondo_inference.contracts.oip_messages import (
    decode_request,
    describe_tensor,
    encode_response,
    encode_statistics,
)
from rondo_inference.domain.tensors import Tensors
from rondo_inference.handlers import Inference, Target
from rondo_inference.registry.served import ServedModel
from rondo_inference.web.access import Access
from rondo_inference.web.aside import aside
from rondo_inference.web.grpc_health import HEALTH, INFERENCE, status_of_service

__all__ = ["REQUESTS", "GrpcMethods", "Method"]

REQUESTS: Mapping[str, Mapping[str, type[Message]]] = MappingProxyType(
    {
        INFERENCE: {
            "ServerLive": pb.ServerLiveRequest,
            "ServerReady": pb.ServerReadyRequest,
            "ServerMetadata": pb.ServerMetadataRequest,
            "ModelReady": pb.ModelReadyRequest,
            "ModelMetadata": pb.ModelMetadataRequest,
            "ModelInfer": pb.ModelInferRequest,
            "ModelStatistics": pb.ModelStatisticsRequest,
            "RepositoryIndex": pb.RepositoryIndexRequest,
            "RepositoryModelLoad": pb.RepositoryModelLoadRequest,
            "RepositoryModelUnload": pb.RepositoryModelUnloadRequest,
        },
        HEALTH: {"Check": health_pb2.HealthCheckRequest},
    }
)
"""Service -> method -> what it is asked with; without what answers by a stream."""

Method = Callable[[Any, str | None, int], Awaitable[bytes]]
"""Takes the request, who asks and the request's bytes; returns the response's bytes."""

_Short = Callable[[Any, str | None], Awaitable[Message]]
"""Takes the request and who asks; returns a response that is short."""


@dataclass(frozen=True, slots=True)
class GrpcMethods:
    """The calls; each raises what the core raises.

    What is large is never asked for its ``ByteSize``: protobuf would write all of it to know.

    Attributes:
        inference: the core.
        ready: whether the process takes requests.
        readers: threads that read and write large tensors.
        access: keys; None: everybody may ask everything.
    """

    inference: Inference
    ready: Callable[[], bool]
    readers: Executor
    access: Access | None = None

    def named(self, name: str) -> Method:
        """Return a method of any of the services."""
        if name == "ModelInfer":
            return self._infer
        short: dict[str, _Short] = {
            "ServerLive": self._live,
            "ServerReady": self._ready,
            "ServerMetadata": self._metadata,
            "ModelReady": self._model_ready,
            "ModelMetadata": self._model_metadata,
            "ModelStatistics": self._statistics,
            "RepositoryIndex": self._index,
            "RepositoryModelLoad": self._load,
            "RepositoryModelUnload": self._unload,
            "Check": self._check_health,
        }
        return partial(_written, short[name])

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
        return pb.ServerReadyResponse(ready=self.ready() and self.inference.catalogue.complete)

    async def _metadata(self, _: pb.ServerMetadataRequest, who: str | None) -> Message:
        del who
        name, version = oip.server_name()
        return pb.ServerMetadataResponse(name=name, version=version, extensions=oip.EXTENSIONS)

    async def _model_ready(self, request: pb.ModelReadyRequest, who: str | None) -> Message:
        self._check_model(who, request.name)
        version, catalogue = _number(request.version), self.inference.catalogue
        try:
            ready = catalogue.resolve(request.name, version=version).served is not None
        except NotFound:  # as Triton answers; over HTTP a client makes False of every refusal
            ready = False
        return pb.ModelReadyResponse(ready=ready)

    async def _model_metadata(self, request: pb.ModelMetadataRequest, who: str | None) -> Message:
        self._check_model(who, request.name)
        target = Target(request.name, version=_number(request.version))
        async with self.inference.lease(target) as served:
            return pb.ModelMetadataResponse(
                name=served.name,
                versions=[str(one) for one in self.inference.catalogue.versions(served.name)],
                platform=oip.platform_of(served),
                inputs=[describe_tensor(info) for info in served.signature.inputs],
                outputs=[describe_tensor(info) for info in served.signature.outputs],
            )

    async def _infer(self, request: pb.ModelInferRequest, who: str | None, size: int) -> bytes:
        self._check_model(who, request.model_name)
        target = Target(request.model_name, version=_number(request.model_version), key=request.id)
        async with self.inference.lease(target) as served:
            inputs, beyond = await aside(self.readers, size, _decoded, request, served)
            outputs = await self.inference.predict(served, inputs, beyond=beyond)
            made = sum(tensor.nbytes for tensor in outputs)
            return await aside(self.readers, made, _encoded, request, served, outputs, beyond)

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
        status = status_of_service(request.service, ready=self.ready())
        if status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN:
            raise NotFound(f"no such service: {request.service}")
        return health_pb2.HealthCheckResponse(status=status)


async def _written(method: _Short, request: Message, who: str | None, size: int) -> bytes:
    del size
    return (await method(request, who)).SerializeToString()


def _decoded(
    request: pb.ModelInferRequest, served: ServedModel
) -> tuple[Tensors, tuple[Beyond, ...]]:
    inputs = decode_request(request, served)
    return inputs, beyond_bounds(served, inputs)


def _encoded(
    request: pb.ModelInferRequest,
    served: ServedModel,
    outputs: Tensors,
    beyond: tuple[Beyond, ...],
) -> bytes:
    return encode_response(request, served, outputs, beyond).SerializeToString()


def _number(version: str) -> int | None:
    if not version:
        return None
    if not (version.isascii() and version.isdigit() and len(version) <= 18):  # noqa: PLR2004
        raise Invalid(f"version {version[:20]!r} is not a number")
    return int(version)
