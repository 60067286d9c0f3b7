"""A job is in the trace of the request that started it, also what the sweep asks for."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from celery import Celery

from rondo_core.errors import Unavailable
from rondo_core.events import Event
from rondo_inference.batch.tasks import BatchWorker, CeleryHints, build_app
from tests.spans import Kept, Told, kept
from tests.unit.rondo_inference.asked import Service
from tests.unit.rondo_inference.batch_world import BatchWorld
from tests.unit.rondo_inference.memory_tasks import messages, settings
from tests.unit.rondo_inference.test_batch_doors import ANSWERS, ASYNC, ROWS, serving

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def spans() -> Iterator[Kept]:
    with kept() as found:
        yield found


@pytest.fixture
def world() -> BatchWorld:
    return BatchWorld()


@pytest.fixture
def traced(spans: Kept, world: BatchWorld) -> Iterator[Service]:
    assert spans.all() == []  # and all that is put together from here on is recorded
    with serving(world) as found:
        yield found


@pytest.fixture
def app(world: BatchWorld) -> Celery:
    """Tasks, whose broker is a queue in this process that no other test shares."""

    def open_worker(app: Celery) -> BatchWorker:
        return replace(world.worker, hints=CeleryHints(app))

    return build_app(settings(), open_worker)


def work(app: Celery) -> None:
    """Run tasks until none is asked for."""
    for headers, ids in messages(app):
        app.tasks[headers["task"]].apply(args=tuple(ids), headers=headers)


def make(service: Service, world: BatchWorld, **headers: str) -> str:
    """Make and start a job by one request, of which no worker hears."""
    asked = {"content_type": "text/csv", **headers}
    assert service.ask("POST", ASYNC, ROWS, **asked).status == 202
    return world.orders.list("prices").jobs[0].job_id


def sweep_twice(world: BatchWorld, app: Celery) -> None:
    """Let the sweep find that nothing moves, and do what it asks for."""
    world.sweeper = replace(world.sweeper, hints=CeleryHints(app))
    world.sweep()
    world.sweep(5.1)
    work(app)


def tasks(spans: Kept) -> list[Told]:
    return [one for one in spans.all() if one.name.startswith("run ")]


def test_what_the_sweep_asks_for_is_below_the_request_that_asked_for_the_job(
    traced: Service, spans: Kept, world: BatchWorld, app: Celery
) -> None:
    job_id = make(traced, world, traceparent=PARENT)

    sweep_twice(world, app)

    request = spans.named("POST sagemaker-async")
    assert world.output(job_id) == ANSWERS
    assert {one.name for one in tasks(spans)} == {"run plan", "run score", "run join"}
    assert {(one.trace, one.parent) for one in tasks(spans)} == {(request.trace, request.id)}
    assert f"00-{request.trace}-{request.parent}-01" == PARENT


def test_a_job_that_was_cancelled_is_in_the_trace_of_the_request_that_goes_on_with_it(
    traced: Service, spans: Kept, world: BatchWorld, app: Celery
) -> None:
    job_id = make(traced, world, traceparent=PARENT)
    traced.ask("POST", f"/batch/prices/jobs/{job_id}/cancel")
    traced.ask("POST", f"/batch/prices/jobs/{job_id}/start")

    sweep_twice(world, app)

    again = spans.named("POST batch-start")
    assert again.trace != PARENT.split("-")[1]
    assert {one.parent for one in tasks(spans)} == {again.id}


def test_a_start_that_only_the_sweep_could_publish_is_published_below_its_request(
    spans: Kept, world: BatchWorld
) -> None:
    def deaf(*events: Event) -> None:
        raise Unavailable(f"{len(events)} events")

    world.orders = replace(world.orders, ports=replace(world.ports, publish=deaf))
    with serving(world) as service:
        reply = service.ask("POST", ASYNC, ROWS, content_type="text/csv", traceparent=PARENT)
    assert reply.status == 503
    assert world.bus.published == []

    world.sweep()

    request, published = spans.named("POST sagemaker-async"), spans.named("publish")
    assert len(world.bus.published) == 1
    assert (published.trace, published.parent) == (request.trace, request.id)


def test_that_a_job_is_overdue_is_published_in_its_trace(
    traced: Service, spans: Kept, world: BatchWorld
) -> None:
    make(traced, world, traceparent=PARENT, x_amzn_sagemaker_invocationtimeoutseconds="1")

    world.sweep(1.5)

    (ended,) = world.ended()
    assert ended.state == "FAILED"
    published = [one for one in spans.all() if one.name == "publish"]
    assert [one.trace for one in published] == [PARENT.split("-")[1]] * 2


def test_where_the_request_was_not_recorded_what_the_sweep_asks_for_is_a_trace_of_its_own(
    world: BatchWorld, app: Celery
) -> None:
    with serving(world) as service:
        make(service, world)

    with kept() as spans:
        sweep_twice(world, app)

    plan = spans.named("run plan")
    assert plan.parent == ""
    assert {one.trace for one in tasks(spans)} == {plan.trace}
