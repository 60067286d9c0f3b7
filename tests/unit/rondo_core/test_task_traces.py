"""What Celery computes is in the trace of what asked for it."""

import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from queue import Empty

import pytest
from celery import Celery

from rondo_core.celery_worker import CelerySettings, new_app, send, task_span
from rondo_core.errors import Unavailable
from rondo_core.settings import Secret
from rondo_core.tracing import span
from tests.spans import kept

TASK = "count"


def counting(body: Callable[[Celery, int], None]) -> Celery:
    """Return an app of one task, whose broker is a queue in this process that no other shares."""
    prefix = f"unit-{uuid.uuid4()}"
    settings = CelerySettings(redis_url=Secret("memory://"), rondo_prefix=prefix)
    app = new_app("test", settings)

    @app.task(name=TASK, shared=False)
    def count(number: int) -> None:
        with suppress(Unavailable), task_span("count"):
            body(app, number)

    return app


def work(app: Celery) -> list[Mapping[str, object]]:
    """Run tasks until none is asked for; return the headers of their messages."""
    headers: list[Mapping[str, object]] = []
    with app.connection() as connection, suppress(Empty):
        queue = connection.SimpleQueue(app.conf.task_default_queue)
        while True:
            message = queue.get(block=False)
            headers.append(message.headers)
            ids, _, _ = message.decode()
            message.ack()
            app.tasks[TASK].apply(args=ids, headers=message.headers)
    return headers


def count_down(app: Celery, number: int) -> None:
    with span("compute"):
        if number:
            send(app, TASK, [number - 1])


def test_a_task_is_recorded_below_the_event_that_asked_for_it() -> None:
    app = counting(count_down)

    with kept() as spans:
        with span("process BatchRequested", kind="consumer"):
            send(app, TASK, [0])
        work(app)

    event, task = spans.named("process BatchRequested"), spans.named("run count")
    assert (task.trace, task.parent) == (event.trace, event.id)
    assert spans.named("compute").parent == task.id


def test_tasks_that_tasks_ask_for_are_children_of_the_event_too_and_no_chain() -> None:
    app = counting(count_down)

    with kept() as spans:
        with span("process BatchRequested", kind="consumer"):
            send(app, TASK, [2])
        work(app)

    event = spans.named("process BatchRequested")
    tasks = [one for one in spans.all() if one.name == "run count"]
    assert [one.parent for one in tasks] == [event.id] * 3


def test_what_a_sweep_asks_for_is_a_trace_of_its_own() -> None:
    app = counting(count_down)

    with kept() as spans:
        send(app, TASK, [0])
        work(app)

    assert spans.named("run count").parent == ""


def test_a_task_that_is_left_to_the_sweep_is_seen_to_fail() -> None:
    def fail(_: Celery, number: int) -> None:
        raise Unavailable(str(number))

    app = counting(fail)

    with kept() as spans:
        send(app, TASK, [0])
        work(app)

    assert spans.named("run count").failed == "Unavailable"


@pytest.mark.parametrize("traced", [False, True])
def test_a_message_names_a_span_only_where_there_is_one(*, traced: bool) -> None:
    app = counting(count_down)

    if traced:
        with kept(), span("a"):
            send(app, TASK, [0])
    else:
        send(app, TASK, [0])
    (headers,) = work(app)

    assert ("traceparent" in headers) == traced
