"""The suite that every ``Clock`` passes."""

from datetime import UTC, timedelta

import pytest

from rondo_core.clock import Clock, SystemClock
from rondo_core.testing import ManualClock


@pytest.fixture(params=[ManualClock, SystemClock])
def clock(request: pytest.FixtureRequest) -> Clock:
    made: Clock = request.param()
    return made


def test_now_is_aware_and_in_utc(clock: Clock) -> None:
    assert clock.now().tzinfo == UTC


def test_neither_time_goes_back(clock: Clock) -> None:
    before = clock.now(), clock.monotonic()

    after = clock.now(), clock.monotonic()

    assert after[0] >= before[0]
    assert after[1] >= before[1]


def test_sleep_moves_both_times_by_about_what_was_asked(clock: Clock) -> None:
    before = clock.now(), clock.monotonic()

    clock.sleep(0.02)

    assert clock.now() - before[0] >= timedelta(seconds=0.015)
    assert clock.monotonic() - before[1] >= 0.0199
