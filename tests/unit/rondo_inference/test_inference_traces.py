"""Requests as spans."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from rondo_inference.web.app import AppRules
from tests.spans import Kept, kept
from tests.unit.rondo_inference.asked import Service, running
from tests.unit.rondo_inference.exported import sample_folder
from tests.unit.rondo_inference.test_inference_grpc import Caller, floats

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
PREDICT = "/v1/models/floats:predict"


@pytest.fixture
def spans() -> Iterator[Kept]:
    with kept() as found:
        yield found


@pytest.fixture
def traced(spans: Kept, tmp_path: Path) -> Iterator[Service]:
    assert spans.all() == []  # and all that is put together from here on is recorded
    with running(models=sample_folder(tmp_path), threads=1) as service:
        yield service


def test_a_request_is_the_child_of_the_callers_span_and_the_parent_of_its_computation(
    traced: Service, spans: Kept
) -> None:
    reply = traced.ask("POST", PREDICT, b'{"instances": [[1]]}', traceparent=PARENT)

    request, compute = spans.named("POST tfs-predict"), spans.named("compute")
    assert reply.status == 200
    assert f"00-{request.trace}-{request.parent}-01" == PARENT
    assert (compute.trace, compute.parent) == (request.trace, request.id)
    assert request.fields == {
        "http.route": "tfs-predict", "http.response.status_code": 200, "rondo.version": "1",
    }  # fmt: skip


def test_requests_that_share_a_run_each_tell_how_long_they_waited(
    traced: Service, spans: Kept
) -> None:
    async def ask() -> None:
        body = json.dumps({"instances": [[1]]}).encode()
        await asyncio.gather(*(traced.call("POST", PREDICT, chunks=[body]) for _ in range(3)))

    asyncio.run(ask())

    requests = {span.id for span in spans.all() if span.name == "POST tfs-predict"}
    assert len(requests) == 3
    for name in ("queue", "compute"):
        assert {span.parent for span in spans.all() if span.name == name} == requests


def test_our_own_faults_are_seen_and_health_is_not_recorded(traced: Service, spans: Kept) -> None:
    traced.ask("POST", "/v1/models/cats:predict", b"{}")
    traced.ask("GET", "/ping")
    traced.app.rules = AppRules(max_requests=0)
    traced.ask("POST", PREDICT, b"{}")

    told = [(span.name, span.failed) for span in spans.all()]
    assert told == [("POST tfs-predict", ""), ("POST tfs-predict", "503")]


def test_a_call_over_grpc_is_recorded_too(traced: Service, spans: Kept) -> None:
    Caller(traced)("ModelInfer", floats(), traceparent=PARENT)

    call, compute = spans.named("ModelInfer"), spans.named("compute")
    assert f"00-{call.trace}-{call.parent}-01" == PARENT
    assert compute.parent == call.id


def test_where_nothing_is_recorded_nothing_stands_before_the_application(tmp_path: Path) -> None:
    with running(models=sample_folder(tmp_path)) as service:
        assert service.parts.server.app is service.app
