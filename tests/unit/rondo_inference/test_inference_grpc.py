"""The Open Inference Protocol over gRPC; the handlers are called as the library calls them."""

import asyncio
import hashlib
import json
import sys
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2

from rondo_inference.contracts import oip_pb2 as pb
from rondo_inference.registry.slots import Slot
from rondo_inference.web.grpc_methods import REQUESTS
from rondo_inference.web.grpc_server import GrpcServer
from tests.unit.rondo_inference.asked import CountedThreads, Service, running
from tests.unit.rondo_inference.exported import prices_export, sample_folder, shapes_export
from tests.unit.rondo_inference.fakes import TABLE, WatchingEngine, in_flight, served_by

HEALTH = "grpc.health.v1.Health"
INFERENCE = "inference.GRPCInferenceService"
REPLIES: dict[str, Any] = {
    "Check": health_pb2.HealthCheckResponse,
    **{method: getattr(pb, f"{method}Response") for method in REQUESTS[INFERENCE]},
}


class Refused(Exception):
    """What a call ends with."""

    def __init__(self, code: grpc.StatusCode, text: str) -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True, slots=True)
class Details:
    method: str
    invocation_metadata: tuple[Any, ...] = ()


class Context:
    """Stands for one call."""

    def __init__(self, metadata: dict[str, str]) -> None:
        self._metadata = tuple(metadata.items())

    def invocation_metadata(self) -> Any:
        return self._metadata

    async def abort(self, code: grpc.StatusCode, text: str) -> None:
        raise Refused(code, text)


@dataclass(frozen=True, slots=True)
class Caller:
    service: Service

    def __call__(
        self,
        method: str,
        request: Any,
        *,
        of: str = INFERENCE,
        **metadata: str,
    ) -> Any:
        data = request if isinstance(request, bytes) else request.SerializeToString()
        return REPLIES[method].FromString(self.written(method, data, of=of, **metadata))

    def written(self, method: str, data: bytes, *, of: str = INFERENCE, **metadata: str) -> bytes:
        """Send the bytes of a request; return those of its answer."""
        app, parts = self.service.app, self.service.parts
        access, ready = app.admissions.access, lambda: parts.catalogue.ready
        server = GrpcServer(
            app.inference, ready, "", 0, 10_000, 10, app.readers, app.budget, access
        )
        details: Any = Details(f"/{of}/{method}")
        found = [one.service(details) for one in server.handlers()]
        handler: Any = next(one for one in found if one is not None)
        reply: bytes = asyncio.run(handler.unary_unary(data, Context(metadata)))
        return reply


@contextmanager
def native_calls() -> Iterator[set[str]]:
    """Note the names of the native functions that this thread calls; others are not listened to."""
    names: set[str] = set()

    def note(_: object, event: str, called: Any) -> None:
        if event == "c_call":
            names.add(called.__name__)

    sys.setprofile(note)
    try:
        yield names
    finally:
        sys.setprofile(None)


@pytest.fixture
def call(samples: Service) -> Caller:
    return Caller(samples)


def typed(name: str, kind: str, **contents: list[Any]) -> pb.ModelInferRequest.InferInputTensor:
    (values,) = contents.values()
    return pb.ModelInferRequest.InferInputTensor(
        name=name, datatype=kind, shape=[1, len(values)], contents=contents
    )


def floats(**more: Any) -> pb.ModelInferRequest:
    one = typed("x", "FP32", fp32_contents=[1.5, 2.5])
    return pb.ModelInferRequest(model_name="floats", inputs=[one], **more)


def raw(*blobs: bytes, shape: tuple[int, ...] = (1, 1)) -> pb.ModelInferRequest:
    one = pb.ModelInferRequest.InferInputTensor(name="x", datatype="FP32", shape=shape)
    return pb.ModelInferRequest(model_name="floats", inputs=[one], raw_input_contents=blobs)


def test_oip_7_health_and_metadata_answer(call: Caller) -> None:
    assert call("ServerLive", pb.ServerLiveRequest()).live
    assert call("ServerReady", pb.ServerReadyRequest()).ready
    assert call("ModelReady", pb.ModelReadyRequest(name="prices", version="1")).ready
    assert "statistics" in call("ServerMetadata", pb.ServerMetadataRequest()).extensions
    found = call("ModelMetadata", pb.ModelMetadataRequest(name="prices"))
    assert (list(found.versions), found.inputs[0].name) == (["1", "2"], "columns")
    assert list(found.inputs[0].shape) == [-1, 2]


@pytest.mark.parametrize(("name", "version"), [("cats", ""), ("prices", "9")])
def test_oip_7_a_model_or_version_that_is_unknown_is_not_ready_as_in_triton(
    call: Caller, name: str, version: str
) -> None:
    assert not call("ModelReady", pb.ModelReadyRequest(name=name, version=version)).ready


def test_oip_7_typed_contents_are_answered_typed_with_the_id(call: Caller) -> None:
    reply = call("ModelInfer", floats(id="7", outputs=[{"name": "y"}]))

    assert (reply.id, reply.model_name, reply.model_version) == ("7", "floats", "1")
    assert list(reply.outputs[0].contents.fp32_contents) == [1.5, 2.5]
    assert not reply.raw_output_contents


WORK = {"FromString", "ByteSize", "SerializeToString"}


@pytest.mark.parametrize(
    ("count", "given", "here"), [(10, 0, WORK - {"ByteSize"}), (20_000, 3, set())]
)
def test_oip_7_of_large_messages_nothing_is_read_made_or_written_in_the_loops_thread(
    samples: Service, call: Caller, count: int, given: int, here: set[str]
) -> None:
    one = typed("x", "FP32", fp32_contents=[1.5] * count)
    data = pb.ModelInferRequest(model_name="floats", inputs=[one]).SerializeToString()

    with CountedThreads(1) as threads, native_calls() as called:
        samples.app.readers = threads
        reply = call.written("ModelInfer", data)

    (found,) = pb.ModelInferResponse.FromString(reply).outputs
    assert list(found.contents.fp32_contents) == [1.5] * count
    assert (threads.given, called & WORK) == (given, here)


def test_oip_7_numbers_of_large_messages_are_objects_a_few_at_a_time(call: Caller) -> None:
    count = 200_000
    one = typed("x", "FP32", fp32_contents=[0.5] * count)
    data = pb.ModelInferRequest(model_name="floats", inputs=[one]).SerializeToString()

    tracemalloc.start()
    reply = call.written("ModelInfer", data)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert len(reply) > 4 * count
    assert most < 24 * count  # a number of Python's and its place in a list are 32 bytes


@pytest.mark.parametrize("size", [1, 100_000])
def test_oip_7_what_is_no_message_is_an_invalid_argument(call: Caller, size: int) -> None:
    with pytest.raises(Refused, match="the message is no ModelInferRequest") as caught:
        call("ModelInfer", b"\xff" * size)

    assert caught.value.code is grpc.StatusCode.INVALID_ARGUMENT


def test_oip_7_messages_take_of_the_budget_of_all_bodies(samples: Service, call: Caller) -> None:
    budget = samples.app.budget
    budget.held = budget.most - 1

    with pytest.raises(Refused, match="try again") as caught:
        call("ModelInfer", floats())

    assert caught.value.code is grpc.StatusCode.UNAVAILABLE
    budget.held = 0
    assert call("ModelInfer", floats()).model_name == "floats"
    assert budget.held == 0


def test_oip_7_raw_contents_are_answered_raw(call: Caller) -> None:
    blob = np.array([1.5], "<f4").tobytes()

    reply = call("ModelInfer", raw(blob))

    assert list(reply.raw_output_contents) == [blob]
    assert not reply.outputs[0].HasField("contents")


def test_a_prediction_over_grpc_is_in_flight_until_it_is_answered(call: Caller) -> None:
    service, export = call.service, prices_export(7)
    engine = WatchingEngine(service.metrics)
    service.catalogue.store(Slot(export.alias, served_by(export, engine)))
    row = typed("columns", "FP32", fp32_contents=[3.0, 1.0])

    call("ModelInfer", pb.ModelInferRequest(model_name="prices", inputs=[row]))

    assert (engine.seen, in_flight(service.metrics)) == ([1], 0)


TYPED = {
    "BOOL": ("bool_contents", True),
    "UINT8": ("uint_contents", 255),
    "UINT16": ("uint_contents", 65535),
    "UINT32": ("uint_contents", 2**32 - 1),
    "UINT64": ("uint64_contents", 2**64 - 1),
    "INT8": ("int_contents", -128),
    "INT16": ("int_contents", -32768),
    "INT32": ("int_contents", -(2**31)),
    "INT64": ("int64_contents", -(2**63)),
    "FP32": ("fp32_contents", 0.5),
    "FP64": ("fp64_contents", 0.1),
    "BYTES": ("bytes_contents", b"x"),
}


def test_oip_7_half_floats_are_raw_only(call: Caller) -> None:
    inputs = [typed(f"IN_{kind}", kind, **{name: [one]}) for kind, (name, one) in TYPED.items()]
    half = pb.ModelInferRequest.InferInputTensor(name="IN_FP16", datatype="FP16", shape=[1, 1])

    with pytest.raises(Refused, match="'FP16' as contents is none of") as caught:
        call("ModelInfer", pb.ModelInferRequest(model_name="identity", inputs=[*inputs, half]))

    assert caught.value.code is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        (raw(b"123"), "3 bytes"),
        (raw(b"1234", b"1234"), "2 raw contents for 1 inputs"),
        (floats(raw_input_contents=[b"12345678"]), "contents beside raw contents"),
        (pb.ModelInferRequest(model_name="floats"), "has no input"),
        (floats(outputs=[{"name": "z"}]), "no output 'z'"),
        (floats(model_version="x"), "version 'x' is not a number"),
        (
            pb.ModelInferRequest(model_name="floats", inputs=[*floats().inputs, *floats().inputs]),
            "is there twice",
        ),
        (raw(b"1234", shape=(-1, 1)), "sides >= 0"),
        (raw(b"", shape=(2**62, 0)), "holds nothing"),
        (
            pb.ModelInferRequest(
                model_name="floats",
                inputs=[{"name": "x", "datatype": "FP32", "shape": [3, 1],
                         "contents": {"fp32_contents": [1]}}],
            ),
            "has 1 fp32_contents, shape",
        ),
        (
            pb.ModelInferRequest(
                model_name="identity", inputs=[typed("IN_INT8", "INT8", int_contents=[300])]
            ),
            "IN_INT8",
        ),
    ],
)  # fmt: skip
def test_oip_7_malformed_requests_are_invalid_arguments(
    call: Caller, request_: pb.ModelInferRequest, text: str
) -> None:
    with pytest.raises(Refused, match=text) as caught:
        call("ModelInfer", request_)

    assert caught.value.code is grpc.StatusCode.INVALID_ARGUMENT


def test_oip_7_an_unknown_model_is_not_found_and_our_fault_is_internal(
    call: Caller, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken:
        signature = TABLE

        def run(self, inputs: Any) -> Any:
            raise ZeroDivisionError(str(inputs))

    export = prices_export(9, label="broken")
    call.service.catalogue.store(Slot(export.alias, served_by(export, Broken())))
    rooms = typed("columns", "FP32", fp32_contents=[3, 1])

    with pytest.raises(Refused) as unknown:
        call("ModelInfer", pb.ModelInferRequest(model_name="cats"))
    with pytest.raises(Refused) as broken:
        call(
            "ModelInfer",
            pb.ModelInferRequest(model_name="prices", model_version="9", inputs=[rooms]),
        )

    assert unknown.value.code is grpc.StatusCode.NOT_FOUND
    assert broken.value.code is grpc.StatusCode.INTERNAL
    assert "reference" in str(broken.value)
    assert any(record.exc_info for record in caplog.records)


def test_without_a_key_a_message_is_not_even_parsed(guarded: Caller) -> None:
    with pytest.raises(Refused) as caught:
        guarded("ModelInfer", b"\xff")

    assert caught.value.code is grpc.StatusCode.UNAUTHENTICATED


def test_oip_6_server_ready_is_of_all_models_and_the_health_service_of_the_process(
    call: Caller,
) -> None:
    call.service.catalogue.store(Slot(shapes_export(9).alias, failure="bad digest"))

    health = call("Check", health_pb2.HealthCheckRequest(), of=HEALTH)

    assert not call("ServerReady", pb.ServerReadyRequest()).ready
    assert health.status == health_pb2.HealthCheckResponse.SERVING


def test_oip_8_the_repository_is_listed_loaded_and_unloaded(call: Caller) -> None:
    def ready() -> set[str]:
        reply = call("RepositoryIndex", pb.RepositoryIndexRequest(ready=True))
        return {one.name for one in reply.models}

    before = ready()
    call("RepositoryModelUnload", pb.RepositoryModelUnloadRequest(model_name="floats"))
    between = ready()
    call("RepositoryModelLoad", pb.RepositoryModelLoadRequest(model_name="floats"))

    assert before - between == {"floats"}
    assert ready() == before


def test_oip_8_statistics_are_those_of_http(call: Caller) -> None:
    call("ModelInfer", floats())

    (one,) = call("ModelStatistics", pb.ModelStatisticsRequest(name="floats")).model_stats
    every = call("ModelStatistics", pb.ModelStatisticsRequest()).model_stats

    assert (one.inference_count, one.inference_stats.success.count) == (1, 1)
    assert one.batch_stats[0].batch_size == 1
    assert len(every) > 1


@pytest.mark.parametrize("service", ["", "inference.GRPCInferenceService"])
def test_oip_7_the_health_service_answers(call: Caller, service: str) -> None:
    reply = call("Check", health_pb2.HealthCheckRequest(service=service), of=HEALTH)

    assert reply.status == health_pb2.HealthCheckResponse.SERVING


def test_oip_7_the_health_of_another_service_is_not_found(call: Caller) -> None:
    with pytest.raises(Refused) as caught:
        call("Check", health_pb2.HealthCheckRequest(service="x"), of=HEALTH)

    assert caught.value.code is grpc.StatusCode.NOT_FOUND


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Caller]:
    keys = [
        {"sha256": hashlib.sha256(b"all").hexdigest()},
        {"sha256": hashlib.sha256(b"some").hexdigest(), "models": ["floats"]},
    ]
    (tmp_path / "keys").write_text(json.dumps(keys))
    with running(
        models=sample_folder(tmp_path / "models"), api_keys_file=str(tmp_path / "keys")
    ) as found:
        yield Caller(found)


@pytest.mark.parametrize(
    ("metadata", "code"),
    [
        ({}, grpc.StatusCode.UNAUTHENTICATED),
        ({"authorization": "Bearer some"}, grpc.StatusCode.PERMISSION_DENIED),
    ],
)
def test_keys_are_asked_for_here_too(
    guarded: Caller, metadata: dict[str, str], code: grpc.StatusCode
) -> None:
    request = pb.ModelReadyRequest(name="prices")

    assert guarded("ServerLive", pb.ServerLiveRequest()).live
    assert guarded("ModelInfer", floats(), authorization="Bearer some").model_name == "floats"
    assert guarded("ModelReady", request, authorization="Bearer all").ready
    assert guarded("RepositoryIndex", pb.RepositoryIndexRequest(), authorization="Bearer all")
    with pytest.raises(Refused) as caught:
        guarded("ModelReady", request, **metadata)
    with pytest.raises(Refused):
        guarded("RepositoryIndex", pb.RepositoryIndexRequest(), **metadata)
    assert caught.value.code is code
