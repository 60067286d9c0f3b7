"""When a consumer receives again, and how long it waits: after work at once, else by long polls."""

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from rondo_core.bus import Delivery
from rondo_core.cloud_events import encode_event
from rondo_core.consumer import (
    BACKOFF_SECONDS,
    SHORT_PAUSE_SECONDS,
    WAIT_SECONDS,
    Consumer,
)
from rondo_core.errors import Unavailable
from rondo_core.events import Event, RoundSealed
from rondo_core.telemetry import Metrics

SEALED = RoundSealed(
    event_id="RoundSealed/r",
    run_id="r",
    occurred_at=datetime(2026, 1, 1, tzinfo=UTC),
    round=1,
    attempt=1,
    manifest="0a" * 32,
    updates=1,
)
BODY = encode_event(SEALED, source="rondo/test")
AWAY = Unavailable("queue")
PAUSE = SHORT_PAUSE_SECONDS


class _Scripted:
    """Gives so many messages at each receive, or raises; keeps how long each was to wait."""

    visibility_seconds = 30.0

    def __init__(self, *answers: int | Exception) -> None:
        self.waits: list[float] = []
        self.acknowledged = 0
        self._answers = list(answers)

    def receive(self, *, wait_seconds: float) -> Sequence[Delivery]:
        self.waits.append(wait_seconds)
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return [Delivery(BODY, str(number), 1) for number in range(answer)]

    def acknowledge(self, deliveries: Sequence[Delivery]) -> None:
        self.acknowledged += len(deliveries)

    def extend(self, deliveries: Sequence[Delivery]) -> None:
        raise AssertionError(f"{len(deliveries)} extended, and nothing takes long here")

    def dead_letter(self, delivery: Delivery, *, reason: str) -> None:
        raise AssertionError(f"{delivery} is dead: {reason}")


def play(*answers: int | Exception) -> tuple[list[float], list[float], list[Event]]:
    """Return how long each receive was to wait, the pauses after them, and what was handled."""
    source, handled = _Scripted(*answers), list[Event]()
    consumer = Consumer(source, {RoundSealed: handled.extend}, Metrics())
    pauses = [consumer() for _ in answers]
    assert source.acknowledged == len(handled)
    return source.waits, pauses, handled


def test_idle_consumer_only_polls_long() -> None:
    waits, pauses, handled = play(0, 0, 0)

    assert waits == [WAIT_SECONDS] * 3
    assert pauses == [0.0] * 3
    assert handled == []


def test_after_work_come_two_short_receives_and_then_a_long_poll() -> None:
    waits, pauses, handled = play(2, 0, 0, 0)

    assert waits == [WAIT_SECONDS, 0.0, 0.0, WAIT_SECONDS]
    assert pauses == [0.0, PAUSE, 0.0, 0.0]
    assert handled == [SEALED, SEALED]


def test_work_that_a_short_receive_finds_begins_the_two_anew() -> None:
    waits, pauses, handled = play(1, 0, 1, 0, 0, 0)

    assert waits == [WAIT_SECONDS, *[0.0] * 4, WAIT_SECONDS]
    assert pauses == [0.0, PAUSE, 0.0, PAUSE, 0.0, 0.0]
    assert len(handled) == 2


def test_queue_full_of_work_is_emptied_without_a_pause() -> None:
    _, pauses, handled = play(10, 10, 10)

    assert pauses == [0.0] * 3
    assert len(handled) == 30


def test_queue_that_fails_is_left_alone_for_a_while_and_then_polled_long() -> None:
    waits, pauses, _ = play(AWAY, 1, 0, AWAY, 0)

    assert waits == [WAIT_SECONDS, WAIT_SECONDS, 0.0, 0.0, WAIT_SECONDS]
    assert pauses == [BACKOFF_SECONDS, 0.0, PAUSE, BACKOFF_SECONDS, 0.0]


def test_failure_of_the_queue_is_logged_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    metrics = Metrics()

    Consumer(_Scripted(AWAY), {}, metrics)()

    labels = {"kind": "consumer", "outcome": "error"}
    assert metrics.registry.get_sample_value("rondo_loop_failures_total", labels) == 1
    assert "Unavailable: queue" in caplog.text


def test_short_receives_cost_less_than_half_a_tenth_of_a_second_of_waiting() -> None:
    _, pauses, _ = play(1, 0, 0)

    assert 0.02 <= sum(pauses) <= 0.05
