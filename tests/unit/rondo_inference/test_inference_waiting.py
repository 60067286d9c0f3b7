"""What an engine takes, and how many engines there are to be."""

import asyncio
import time
from collections.abc import Iterator

import numpy as np
import pytest

from rondo_inference.domain.batching import BatchLimits, QueueFull
from rondo_inference.merging import Job
from rondo_inference.waiting import Waiting

CHEAP, DEAR = 1e-4, 1.0  # seconds of a row
HOUR = 3600.0


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


def waiting(
    loop: asyncio.AbstractEventLoop, *rows: int, is_part: bool = False, **limits: float
) -> Waiting:
    found = Waiting(BatchLimits(**{"queue_seconds": HOUR, **limits}), merges=True)  # type: ignore[arg-type]
    for count in rows:
        found.put(job(loop, count, is_part=is_part))
    return found


def job(loop: asyncio.AbstractEventLoop, rows: int, *, is_part: bool = False) -> Job:
    inputs = (np.zeros((rows, 1), np.float32),)
    return Job(inputs, rows, time.perf_counter(), is_part, loop.create_future(), None)


def sizes(one: Waiting, row_seconds: float) -> list[int]:
    """Return the rows of the batches until no engine is to begin."""
    found = []
    while batch := one.take(row_seconds)[0]:
        found.append(sum(each.rows for each in batch))
    return found


@pytest.mark.parametrize("row_seconds", [1e-6, DEAR])
def test_rows_that_are_dear_or_cost_nothing_are_taken_together(
    loop: asyncio.AbstractEventLoop, row_seconds: float
) -> None:
    assert sizes(waiting(loop, *[1] * 16), row_seconds) == [16]


def test_of_cheap_rows_one_half_is_taken_but_no_few(loop: asyncio.AbstractEventLoop) -> None:
    one = waiting(loop, *[1] * 17)
    found = []
    while batch := one.take(CHEAP)[0]:
        found.append(len(batch))
        one.done()

    assert found == [9, 4, 4]


@pytest.mark.parametrize(("engines", "begin"), [(1, 1), (2, 1), (3, 2)])
def test_cheap_small_requests_leave_the_loop_a_cpu(
    loop: asyncio.AbstractEventLoop, engines: int, begin: int
) -> None:
    assert len(sizes(waiting(loop, *[1] * 64, engines=engines), CHEAP)) == begin


def test_all_engines_work_on_the_parts_of_a_large_request(loop: asyncio.AbstractEventLoop) -> None:
    assert sizes(waiting(loop, 50, 50, is_part=True, engines=2), CHEAP) == [50, 50]


def test_all_engines_work_on_dear_requests(loop: asyncio.AbstractEventLoop) -> None:
    assert sizes(waiting(loop, 1, 1, 1, 1, engines=2, rows=2), DEAR) == [2, 2]


def test_an_engine_that_is_done_may_begin_again(loop: asyncio.AbstractEventLoop) -> None:
    one = waiting(loop, 1, 1, rows=1)
    assert sizes(one, DEAR) == [1]
    assert not one.idle

    one.done()

    assert sizes(one, DEAR) == [1]
    one.done()
    assert one.idle


def test_who_went_away_and_who_waited_too_long_take_no_engine(
    loop: asyncio.AbstractEventLoop,
) -> None:
    one = waiting(loop, queue_seconds=-1)
    gone, late = job(loop, 1), job(loop, 1)
    gone.future.cancel()
    one.put(gone)
    one.put(late)

    assert one.take(DEAR) == ([], [late])
    assert one.idle


def test_a_full_queue_refuses_until_rows_are_taken(loop: asyncio.AbstractEventLoop) -> None:
    one = waiting(loop, 3, queue_rows=2)
    with pytest.raises(QueueFull, match="3 rows wait already"):
        one.put(job(loop, 1))

    one.take(DEAR)
    one.put(job(loop, 1))
