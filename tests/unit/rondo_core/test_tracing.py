import json
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from rondo_core import tracing
from rondo_core.cloud_events import encode_event, traceparent_of
from rondo_core.consumer import consume_once
from rondo_core.errors import SettingsInvalid, Unavailable
from rondo_core.events import Event, RunFinished, RunRequested
from rondo_core.telemetry import Metrics
from rondo_core.testing import MemoryBus
from tests.spans import kept

AT = datetime(2026, 1, 1, tzinfo=UTC)
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def requested(run_id: str = "r") -> RunRequested:
    return RunRequested(event_id=run_id, run_id=run_id, occurred_at=AT, model="m")


def finished() -> RunFinished:
    return RunFinished(event_id="f", run_id="r", occurred_at=AT, state="FINISHED", reason="")


def test_nothing_is_recorded_where_no_collector_is_named() -> None:
    tracing.start_tracing("test", {})

    with tracing.span("a", parent=PARENT) as recorded, tracing.resumed(PARENT):
        inside = (tracing.traceparent(), tracing.around())

    assert (tracing.tracing(), recorded, inside) == (False, None, ("", None))


def test_nothing_of_opentelemetry_is_imported_until_then() -> None:
    code = "import sys, rondo_core.consumer, rondo_core.aws; print('opentelemetry' in sys.modules)"

    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert found.stdout == "False\n"


def test_a_collector_that_nothing_can_be_sent_to_is_a_bad_setting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "rondo_core.spans", None)

    with pytest.raises(SettingsInvalid, match=r"OTLP_ENDPOINT needs rondo-core\[tracing\]"):
        tracing.start_tracing("test", {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"})


def test_a_span_is_the_child_of_the_one_around_and_of_the_parent_that_is_named() -> None:
    with kept() as spans, tracing.span("outer", parent=PARENT), tracing.span("inner"):
        pass

    outer, inner = spans.named("outer"), spans.named("inner")
    assert f"00-{outer.trace}-{outer.parent}-01" == PARENT
    assert (inner.trace, inner.parent) == (outer.trace, outer.id)


@pytest.mark.parametrize("parent", ["", "x", "00-" + "0" * 32 + "-" + "0" * 16 + "-01"])
def test_a_malformed_parent_is_none(parent: str) -> None:
    with kept() as spans, tracing.span("a", parent=parent):
        pass

    assert spans.named("a").parent == ""


def test_what_is_over_is_recorded_with_its_own_time() -> None:
    with kept() as spans, tracing.span("request"):
        around = tracing.around()
        assert around is not None
        tracing.record("queue", around, start=1.0, end=3.5)

    queue = spans.named("queue")
    assert queue.parent == spans.named("request").id
    assert queue.seconds == pytest.approx(2.5)


def test_an_error_is_told_by_its_kind_alone() -> None:
    with kept() as spans, pytest.raises(Unavailable), tracing.span("a"):
        raise Unavailable("of a secret")

    assert spans.named("a").failed == "Unavailable"


def test_what_another_thread_began_goes_on_here() -> None:
    with kept() as spans, tracing.resumed(PARENT), tracing.span("a"):
        pass

    assert spans.named("a").parent == "b7ad6b7169203331"


def test_a_message_names_the_span_that_it_is_published_in() -> None:
    traced = encode_event(requested(), source="test", traceparent=PARENT)

    assert traceparent_of(traced) == PARENT
    assert "traceparent" not in json.loads(encode_event(requested(), source="test"))
    assert [traceparent_of(body) for body in ("", "{", '{"traceparent": 1}', b"\xff")] == [""] * 4


def test_handling_an_event_is_the_child_of_publishing_it_and_causes_the_next() -> None:
    bus = MemoryBus()

    def handle(events: Sequence[Event]) -> None:
        bus.publish(*[finished() for _ in events])

    with kept() as spans:
        with tracing.span("POST /v1/runs", kind="server"):
            bus.publish(requested())
        consume_once(bus.source("dispatcher"), {RunRequested: handle}, Metrics(), wait_seconds=0)

    request, handled = spans.named("POST /v1/runs"), spans.named("process RunRequested")
    first, second = (one for one in spans.all() if one.name == "publish")
    assert [first.parent, handled.parent, second.parent] == [request.id, first.id, handled.id]
    assert {span.trace for span in spans.all()} == {request.trace}


def test_events_that_are_handled_together_are_linked() -> None:
    bus = MemoryBus()

    with kept() as spans:
        for run in ("r1", "r2"):
            bus.publish(requested(run))
        source = bus.source("dispatcher")
        consume_once(source, {RunRequested: lambda _: None}, Metrics(), wait_seconds=0)

    first, second = (one for one in spans.all() if one.name == "publish")
    handled = spans.named("process RunRequested")
    assert (handled.parent, handled.links) == (first.id, (second.id,))


def test_a_handler_that_fails_is_seen_to_fail() -> None:
    bus = MemoryBus()

    def handle(events: Sequence[Event]) -> None:
        raise Unavailable(str(events))

    with kept() as spans:
        bus.publish(requested())
        consume_once(bus.source("dispatcher"), {RunRequested: handle}, Metrics(), wait_seconds=0)

    assert spans.named("process RunRequested").failed == "Unavailable"
