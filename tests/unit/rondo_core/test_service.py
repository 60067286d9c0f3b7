import logging
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from rondo_core.consumer import BatchHandler, consume_once
from rondo_core.errors import Conflict, Invalid, NotFound, Unavailable
from rondo_core.events import Event, RoundSealed, RunFinished, UpdateSubmitted
from rondo_core.health import Health
from rondo_core.service import sweep_once
from rondo_core.telemetry import Metrics
from rondo_core.testing import ManualClock, MemoryBus, MemoryEventSource
from rondo_core.topology import MAX_RECEIVES

AT = datetime(2026, 1, 1, tzinfo=UTC)
SHA256 = "0a" * 32


def submitted(client: str) -> UpdateSubmitted:
    return UpdateSubmitted(
        event_id=f"UpdateSubmitted/{client}",
        run_id="r",
        occurred_at=AT,
        round=1,
        attempt=1,
        client_id=client,
        sha256=SHA256,
    )


SEALED = RoundSealed(
    event_id="RoundSealed/r",
    run_id="r",
    occurred_at=AT,
    round=1,
    attempt=1,
    manifest=SHA256,
    updates=2,
)


class _Recorder:
    """A handler that keeps the batches that it handled, and fails on the clients it is told to."""

    def __init__(self, **failures: Exception) -> None:
        self.batches: list[list[Event]] = []
        self.failures = failures

    def __call__(self, events: Sequence[Event]) -> None:
        for event in events:
            if isinstance(event, UpdateSubmitted) and event.client_id in self.failures:
                raise self.failures[event.client_id]
        self.batches.append(list(events))


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def bus(clock: ManualClock) -> MemoryBus:
    return MemoryBus(clock)


@pytest.fixture
def source(bus: MemoryBus) -> MemoryEventSource:
    return bus.source("aggregator")


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


def handlers(handler: BatchHandler) -> dict[type[Event], BatchHandler]:
    return {UpdateSubmitted: handler, RoundSealed: handler}


def consume(source: MemoryEventSource, handler: BatchHandler, metrics: Metrics) -> int:
    return consume_once(source, handlers(handler), metrics, wait_seconds=0)


def counted(metrics: Metrics, kind: str, outcome: str) -> float | None:
    labels = {"kind": kind, "outcome": outcome}
    return metrics.registry.get_sample_value("rondo_events_handled_total", labels)


def dead_letters(bus: MemoryBus) -> list[str]:
    return [reason for _, reason in bus.dead_letters("aggregator")]


def test_empty_queue_is_no_work(source: MemoryEventSource, metrics: Metrics) -> None:
    assert consume(source, _Recorder(), metrics) == 0


def test_events_of_one_type_are_handled_together_and_acknowledged(
    bus: MemoryBus, source: MemoryEventSource, metrics: Metrics
) -> None:
    recorder = _Recorder()
    bus.publish(submitted("a"), SEALED, submitted("b"))

    assert consume(source, recorder, metrics) == 3

    assert recorder.batches == [[submitted("a"), submitted("b")], [SEALED]]
    assert source.depth() == 0
    assert counted(metrics, "UpdateSubmitted", "ok") == 2
    assert counted(metrics, "RoundSealed", "ok") == 1


def test_duplicate_reaches_the_handler_twice(
    bus: MemoryBus, source: MemoryEventSource, metrics: Metrics
) -> None:
    recorder = _Recorder()
    bus.publish(submitted("a"), submitted("a"))

    consume(source, recorder, metrics)

    assert recorder.batches == [[submitted("a"), submitted("a")]]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("{", "not a CloudEvents 1.0 message"),
        ('{"specversion":"1.0"}', "missing required field"),
        ('{"data":' * 100_000, "nested too deeply"),
    ],
)
def test_poison_is_dead_lettered_and_the_rest_is_handled(
    bus: MemoryBus, source: MemoryEventSource, metrics: Metrics, body: str, reason: str
) -> None:
    recorder = _Recorder()
    source.send(body)
    bus.publish(SEALED)

    consume(source, recorder, metrics)

    assert recorder.batches == [[SEALED]]
    ((letter, told),) = bus.dead_letters("aggregator")
    assert letter == body
    assert reason in told
    assert source.depth() == 0
    labels = {"kind": "", "outcome": "ok"}
    value = metrics.registry.get_sample_value("rondo_events_dead_lettered_total", labels)
    assert value == 1


def test_event_that_no_handler_wants_is_dead_lettered(
    bus: MemoryBus, source: MemoryEventSource, metrics: Metrics
) -> None:
    bus.publish(SEALED)

    consume_once(source, {UpdateSubmitted: _Recorder()}, metrics, wait_seconds=0)

    assert dead_letters(bus) == ["RoundSealed is not for this queue"]


@pytest.mark.parametrize("failure", [Invalid("broken rule"), NotFound("no such run")])
def test_one_bad_event_of_a_batch_is_found_and_dead_lettered_alone(
    bus: MemoryBus, source: MemoryEventSource, metrics: Metrics, failure: Exception
) -> None:
    recorder = _Recorder(b=failure)
    bus.publish(submitted("a"), submitted("b"), submitted("c"))

    consume(source, recorder, metrics)

    assert recorder.batches == [[submitted("a")], [submitted("c")]]
    assert dead_letters(bus) == [str(failure)]
    assert source.depth() == 0


@pytest.mark.parametrize(
    ("failure", "outcome"),
    [
        (Unavailable("store"), "retry"),
        (Conflict("someone was faster"), "retry"),
        (KeyError("bug"), "error"),
    ],
)
def test_batch_that_failed_for_now_comes_again_after_the_visibility_timeout(
    bus: MemoryBus,
    source: MemoryEventSource,
    clock: ManualClock,
    metrics: Metrics,
    failure: Exception,
    outcome: str,
) -> None:
    recorder = _Recorder(b=failure)
    bus.publish(submitted("a"), submitted("b"))

    consume(source, recorder, metrics)
    assert consume(source, recorder, metrics) == 0
    recorder.failures = {}
    clock.advance(30)
    assert consume(source, recorder, metrics) == 2

    assert recorder.batches == [[submitted("a"), submitted("b")]]
    assert dead_letters(bus) == []
    assert counted(metrics, "UpdateSubmitted", outcome) == 2
    assert counted(metrics, "UpdateSubmitted", "ok") == 2


def test_failure_of_one_type_does_not_hold_up_another(
    bus: MemoryBus, source: MemoryEventSource, metrics: Metrics
) -> None:
    recorder = _Recorder(a=Unavailable("store"))
    bus.publish(submitted("a"), SEALED)

    consume(source, recorder, metrics)

    assert recorder.batches == [[SEALED]]
    assert source.depth() == 1


def test_event_that_fails_without_end_becomes_a_dead_letter(
    bus: MemoryBus, source: MemoryEventSource, clock: ManualClock, metrics: Metrics
) -> None:
    recorder = _Recorder(a=KeyError("bug"))
    bus.publish(submitted("a"))

    for _ in range(MAX_RECEIVES):
        assert consume(source, recorder, metrics) == 1
        clock.advance(30)

    assert consume(source, recorder, metrics) == 0
    assert len(dead_letters(bus)) == 1
    assert source.depth() == 0


def test_log_line_says_what_happened_to_each_event(
    bus: MemoryBus,
    source: MemoryEventSource,
    metrics: Metrics,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    bus.publish(submitted("a"), SEALED)

    consume(source, _Recorder(a=Unavailable("store is away")), metrics)

    failed, handled = caplog.records
    assert vars(failed).items() >= {
        ("event", "UpdateSubmitted"),
        ("event_id", "UpdateSubmitted/a"),
        ("run_id", "r"),
        ("round", 1),
        ("outcome", "retry"),
        ("error", "store is away"),
        ("receives", 1),
    }
    assert (failed.levelname, handled.levelname) == ("WARNING", "INFO")
    assert vars(handled)["outcome"] == "ok"


def test_bug_in_a_handler_is_logged_with_its_traceback(
    bus: MemoryBus,
    source: MemoryEventSource,
    metrics: Metrics,
    caplog: pytest.LogCaptureFixture,
) -> None:
    bus.publish(submitted("a"))

    consume(source, _Recorder(a=KeyError("bug")), metrics)

    assert any(record.exc_info for record in caplog.records)


def test_event_without_a_round_is_logged_without_one(
    source: MemoryEventSource, metrics: Metrics, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    bus = MemoryBus()
    finished = RunFinished(event_id="e", run_id="r", occurred_at=AT, state="FINISHED", reason="")
    bus.publish(finished)
    source.send(
        '{"specversion":"1.0","id":"e","source":"s","type":"RunFinished",'
        '"time":"2026-01-01T00:00:00Z","subject":"r",'
        '"data":{"state":"FINISHED","reason":""}}'
    )

    consume_once(source, {RunFinished: _Recorder()}, metrics, wait_seconds=0)

    assert vars(caplog.records[-1])["round"] is None


def test_sweep_that_fails_is_logged_and_counted_and_the_loop_goes_on(
    metrics: Metrics, caplog: pytest.LogCaptureFixture
) -> None:
    def sweep() -> None:
        raise Unavailable("table")

    sweep_once(sweep, metrics)

    value = metrics.registry.get_sample_value
    failures = {"kind": "sweep", "outcome": "error"}
    assert value("rondo_loop_failures_total", failures) == 1
    assert value("rondo_sweep_seconds_count", {"kind": "", "outcome": "error"}) == 1
    assert "Unavailable: table" in caplog.text


def test_sweep_that_works_is_timed(metrics: Metrics) -> None:
    done: list[str] = []

    sweep_once(lambda: done.append("swept"), metrics)

    assert done == ["swept"]
    labels = {"kind": "", "outcome": "ok"}
    assert metrics.registry.get_sample_value("rondo_sweep_seconds_count", labels) == 1


def test_loop_that_has_not_beaten_for_long_is_stuck() -> None:
    health = Health(limit_seconds=0.0)
    assert health.stuck() == []

    health.beat("consumer")
    health.beats["consumer"] -= 1

    assert health.stuck() == ["consumer"]
    assert Health(limit_seconds=60.0, beats=health.beats).stuck() == []
