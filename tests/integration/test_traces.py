"""What processes record, as a collector hears of it over OTLP."""

import http.client
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from rondo_core.spans import recorder_to
from rondo_core.tracing import span, use
from rondo_local.processes import Supervisor
from tests.emulators import Aws
from tests.integration.dispatcher_stack import DispatcherStack
from tests.integration.test_inference_alone import start
from tests.spans import Collector, Told, collecting
from tests.unit.rondo_inference.exported import sample_folder

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
SECONDS = 60.0


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as found:
        yield found


def environ(collector: Collector) -> dict[str, str]:
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "100"}


def heard(collector: Collector, found: Callable[[], list[Told]]) -> Told:
    deadline = time.monotonic() + SECONDS
    while not found():
        assert time.monotonic() < deadline, collector.spans
        time.sleep(0.05)
    return found()[0]


def test_a_prediction_is_recorded_below_the_span_of_its_caller(
    collector: Collector, tmp_path: Path
) -> None:
    server = start(sample_folder(tmp_path), OTEL_EXPORTER_OTLP_ENDPOINT=collector.url)
    with closing(http.client.HTTPConnection("127.0.0.1", server.port)) as caller:
        body = b'{"instances": [[1]]}'
        caller.request("POST", "/v1/models/floats:predict", body, {"traceparent": PARENT})
        assert caller.getresponse().status == 200
    server.process.terminate()  # what is not sent yet is sent now
    assert server.process.wait(timeout=SECONDS) == 0

    parent = PARENT.split("-")[2]
    (request,) = [one for one in collector.spans if one.parent == parent]
    below = [one.name for one in collector.spans if one.parent == request.id]
    assert (request.service, request.name) == ("rondo-inference", "POST tfs-predict")
    assert request.trace == PARENT.split("-")[1]
    assert "compute" in below


def test_an_event_is_handled_below_the_span_that_published_it_on_sns(
    aws: Aws, collector: Collector, tmp_path: Path
) -> None:
    use(recorder_to(collector.url, "operator"))
    try:
        with Supervisor(tmp_path / "logs") as supervisor:
            stack = DispatcherStack(aws, supervisor, **environ(collector))
            stack.start()
            with span("start a run"):
                stack.request("ann", "bob")
            handled = heard(
                collector, lambda: collector.named("rondo-dispatcher", "process RunRequested")
            )
            asked = heard(collector, lambda: collector.named("operator", "start a run"))
            published = heard(collector, lambda: collector.named("operator", "publish"))
    finally:
        use(None)

    assert (published.parent, handled.parent) == (asked.id, published.id)
    assert published.trace == handled.trace == asked.trace
