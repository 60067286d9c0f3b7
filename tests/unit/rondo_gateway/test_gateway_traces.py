"""Calls as spans, and what they cause."""

from rondo_core import tracing
from rondo_core.events import Event, RunFinished
from rondo_gateway.handlers.grouping import _publish_all
from tests.spans import kept
from tests.unit.rondo_gateway.gateway_http import Http
from tests.unit.rondo_gateway.gateway_rows import MODEL, RUN, START
from tests.unit.rondo_gateway.gateway_world import OPERATOR, World

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_a_call_is_the_child_of_the_callers_span_and_the_parent_of_what_it_publishes() -> None:
    with kept() as spans:
        world = World()
        world.registered()
        with Http(world.app) as http:
            http.post(
                "/v1/runs",
                json={"model": MODEL, "run_id": RUN},
                headers=OPERATOR | {"traceparent": PARENT},
            )

    call, published = spans.named("POST /v1/runs"), spans.named("publish")
    assert f"00-{call.trace}-{call.parent}-01" == PARENT
    assert (published.trace, published.parent) == (call.trace, call.id)
    assert call.fields == {"http.route": "/v1/runs", "http.response.status_code": 202}


def test_health_is_not_recorded() -> None:
    with kept() as spans, Http(World().app) as http:
        http.get("/healthz")

    assert spans.all() == []


def test_events_of_two_calls_that_are_published_together_keep_their_causes() -> None:
    def finished(run: str) -> Event:
        return RunFinished(event_id=run, run_id=run, occurred_at=START, state="FINISHED", reason="")

    world = World()
    with kept() as spans:
        parents = []
        for name in ("first", "second"):
            with tracing.span(name):
                parents.append(tracing.traceparent())
        calls = [(parent, (finished(str(at)),)) for at, parent in enumerate(parents)]
        _publish_all(world.publish, calls)

    published = [span.parent for span in spans.all() if span.name == "publish"]
    assert published == [spans.named(name).id for name in ("first", "second")]
