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
from tests.integration.batch_stack import answers_csv, batch_stack, prices_csv
from tests.integration.dispatcher_stack import DispatcherStack
from tests.integration.test_inference_alone import start
from tests.spans import Collector, Told, collecting
from tests.unit.rondo_inference.exported import prices_export, sample_folder

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


def test_the_chunks_of_a_job_are_scored_below_the_call_that_started_it(
    ministack: Aws, redis_url: str, collector: Collector, tmp_path: Path
) -> None:
    with batch_stack(ministack, redis_url, tmp_path) as stack:
        # The last batch of spans would be sent in an hour: it is sent because the worker ends.
        sent = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "3600000"}
        stack.promote(prices_export(1))
        processes = [stack.start(*argv, **sent) for argv in ((), ("batch-intake",))]
        processes.append(stack.start("batch-worker", **sent))
        job_id = stack.make(prices_csv(1_000), start=False)
        stack.call("POST", f"/batch/prices/jobs/{job_id}/start", traceparent=PARENT)
        assert stack.output(job_id) == answers_csv(1_000)
        chunks = stack.show(job_id)["chunks"]
        assert [process.stop() for process in processes] == [0, 0, 0]

    (handled,) = collector.named("rondo-batch-intake", "process BatchRequested")
    told = ("run plan", "run score", "run join")
    plans, scores, joins = (collector.named("rondo-batch-worker", name) for name in told)
    assert (len(plans), len(scores)) == (1, chunks)
    assert {one.parent for one in (*plans, *scores, *joins)} == {handled.id}
    assert handled.trace == PARENT.split("-")[1]
