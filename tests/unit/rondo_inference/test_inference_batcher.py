import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import pytest

from rondo_inference.batcher import Batcher
from rondo_inference.domain.batching import BatchLimits, DeadlinePassed, QueueFull
from rondo_inference.domain.tensors import Tensors
from rondo_inference.engine_threads import EngineThreads
from rondo_inference.stats import Duration, Stats
from rondo_inference.tally import tally

CHEAP = 1e-4  # seconds that a row is said to cost: the loop has as much to do as an engine
SLOW = 1.0  # seconds that a row is said to cost, so that nothing is computed in the loop


class Gate:
    """Doubles its input; waits for `open` first, and remembers the batches."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.batches: list[int] = []
        self.threads: set[str] = set()

    def __call__(self, inputs: Tensors) -> Tensors:
        self.open.wait(20)
        self.batches.append(len(inputs[0]))
        self.threads.add(threading.current_thread().name)
        if (inputs[0] < 0).any():
            raise ZeroDivisionError
        return (inputs[0] * 2,)


@contextmanager
def batching(gate: Gate, *, row_seconds: float = SLOW, **limits: float) -> Iterator[Batcher]:
    with ThreadPoolExecutor(2, thread_name_prefix="engine") as executor:
        yield Batcher(
            gate,
            merges=True,
            limits=BatchLimits(**limits),  # type: ignore[arg-type]
            threads=EngineThreads(executor),
            stats=Stats(),
            row_seconds=row_seconds,
        )


def rows(*values: float) -> Tensors:
    return (np.array(values, np.float32).reshape(-1, 1),)


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def counts(stats: Stats) -> tuple[list[int], int]:
    """Return how often each step was counted, and how many runs there were."""
    told = tally(stats)
    steps = (told.queued, *told.steps.durations)
    return [told.success.count, *(step.count for step in steps)], told.infer.count


def flat(outputs: Sequence[Tensors]) -> list[list[float]]:
    return [one[0].ravel().tolist() for one in outputs]


def test_a_single_small_request_is_computed_in_the_loop_itself() -> None:
    gate = Gate()
    gate.open.set()
    with batching(gate, row_seconds=1e-6) as batcher:
        outputs = asyncio.run(batcher.run(rows(1)))

    assert flat([outputs]) == [[2]]
    assert gate.threads == {threading.current_thread().name}


def test_requests_that_cost_less_than_another_thread_are_computed_in_the_loop_together() -> None:
    gate = Gate()
    gate.open.set()

    async def ask(batcher: Batcher) -> list[Tensors]:
        return await asyncio.gather(*(batcher.run(rows(n)) for n in range(16)))

    with batching(gate, row_seconds=1e-6) as batcher:
        outputs = asyncio.run(ask(batcher))

    assert flat(outputs) == [[2 * n] for n in range(16)]
    assert (gate.batches, gate.threads) == ([16], {threading.current_thread().name})


def test_a_request_that_is_alone_is_computed_before_anything_else() -> None:
    gate = Gate()
    gate.open.set()

    async def ask(batcher: Batcher) -> Tensors:
        asking = batcher.run(rows(1, 2), alone=True)
        with pytest.raises(StopIteration) as done:
            asking.send(None)  # it never waits for the loop
        outputs: Tensors = done.value.value
        return outputs

    with batching(gate, row_seconds=1e-6) as batcher:
        outputs = asyncio.run(ask(batcher))

    assert flat([outputs]) == [[2, 4]]
    told = tally(batcher.stats)
    assert (told.rows, told.success.count) == (2, 1)


def test_requests_of_one_turn_are_merged_in_their_order() -> None:
    gate = Gate()
    gate.open.set()

    async def ask(batcher: Batcher) -> list[Tensors]:
        return await asyncio.gather(*(batcher.run(rows(n, n)) for n in range(4)))

    with batching(gate) as batcher:
        outputs = asyncio.run(ask(batcher))

    assert flat(outputs) == [[0, 0], [2, 2], [4, 4], [6, 6]]
    assert gate.batches == [8]


def test_an_idle_engine_starts_at_once_and_others_gather_while_it_is_busy() -> None:
    gate = Gate()

    async def ask(batcher: Batcher) -> list[Tensors]:
        first = asyncio.ensure_future(batcher.run(rows(1)))
        await settle()
        others = [asyncio.ensure_future(batcher.run(rows(n))) for n in (2, 3, 4)]
        await settle()
        gate.open.set()
        return await asyncio.gather(first, *others)

    with batching(gate) as batcher:
        outputs = asyncio.run(ask(batcher))
        assert batcher.idle

    assert flat(outputs) == [[2], [4], [6], [8]]
    assert gate.batches == [1, 3]
    assert counts(batcher.stats) == ([4] * 5, 2)  # by request, and runs


def test_of_cheap_rows_an_engine_takes_half_and_then_goes_on_without_the_loop() -> None:
    gate = Gate()

    async def ask(batcher: Batcher) -> list[Tensors]:
        asking = [asyncio.ensure_future(batcher.run(rows(n))) for n in range(16)]
        await settle()
        gate.open.set()
        await_batches(gate, 3)  # the loop does nothing meanwhile
        return await asyncio.gather(*asking)

    with batching(gate, row_seconds=CHEAP) as batcher:
        outputs = asyncio.run(ask(batcher))
        assert batcher.idle

    assert flat(outputs) == [[2 * n] for n in range(16)]
    assert gate.batches == [8, 4, 4]
    assert len(gate.threads) == 1  # another one would have to be woken for each
    assert tally(batcher.stats).queued.count == 16


def await_batches(gate: Gate, count: int) -> None:
    deadline = time.monotonic() + 20
    while len(gate.batches) < count and time.monotonic() < deadline:
        time.sleep(0.001)


def test_an_engine_leaves_the_others_their_turn_between_its_batches() -> None:
    mine, other = Gate(), Gate()
    order: list[str] = []

    def noted(name: str, gate: Gate) -> Callable[[Tensors], Tensors]:
        def compute(inputs: Tensors) -> Tensors:
            outputs = gate(inputs)
            order.append(name)
            return outputs

        return compute

    async def ask(first: Batcher, second: Batcher) -> None:
        asking = [asyncio.ensure_future(first.run(rows(n))) for n in range(8)]
        await settle()
        asking += [asyncio.ensure_future(second.run(rows(n))) for n in range(2)]
        await settle()
        mine.open.set()
        other.open.set()
        await asyncio.gather(*asking)

    with ThreadPoolExecutor(1) as executor:
        threads = EngineThreads(executor)
        asyncio.run(
            ask(
                *(
                    Batcher(
                        noted(name, gate),
                        merges=True,
                        limits=BatchLimits(),
                        threads=threads,
                        stats=Stats(),
                        row_seconds=CHEAP,
                    )
                    for name, gate in (("mine", mine), ("other", other))
                )
            )
        )

    assert order == ["mine", "other", "mine"]


def test_a_batch_is_no_larger_than_allowed_and_shapes_are_not_mixed() -> None:
    gate = Gate()

    async def ask(batcher: Batcher) -> list[Tensors]:
        wide = (np.ones((1, 2), np.float32),)
        one = [batcher.run(rows(1, 2)), batcher.run(rows(3)), batcher.run(wide)]
        waiting = [asyncio.ensure_future(each) for each in one]
        await settle()
        gate.open.set()
        return await asyncio.gather(*waiting)

    with batching(gate, rows=2) as batcher:
        outputs = asyncio.run(ask(batcher))

    assert flat(outputs) == [[2, 4], [6], [2, 2]]
    assert gate.batches == [2, 1, 1]


@pytest.mark.parametrize(("engines", "batches"), [(1, [4, 4, 2]), (2, [4, 4, 2])])
def test_a_large_request_is_cut_and_put_together_in_order(engines: int, batches: list[int]) -> None:
    gate = Gate()
    gate.open.set()
    with batching(gate, rows=4, engines=engines) as batcher:
        (outputs,) = asyncio.run(batcher.run(rows(*range(10))))

    assert outputs.ravel().tolist() == [2 * n for n in range(10)]
    assert sorted(gate.batches, reverse=True) == batches
    assert counts(batcher.stats) == ([1] * 5, 3)


def test_all_engines_work_on_a_request_that_takes_long() -> None:
    gate = Gate()
    gate.open.set()
    with batching(gate, rows=64, engines=2) as batcher:
        asyncio.run(batcher.run(rows(*range(10))))

    assert gate.batches == [5, 5]


def test_a_full_queue_refuses_and_an_empty_one_takes_anything() -> None:
    gate = Gate()

    async def ask(batcher: Batcher) -> list[object]:
        running = asyncio.ensure_future(batcher.run(rows(1)))
        await settle()
        waiting = asyncio.ensure_future(batcher.run(rows(1, 2, 3)))
        await settle()
        refused = asyncio.ensure_future(batcher.run(rows(1)))
        await settle()
        gate.open.set()
        return list(await asyncio.gather(running, waiting, refused, return_exceptions=True))

    with batching(gate, queue_rows=2) as batcher:
        *_, refused = asyncio.run(ask(batcher))

    assert isinstance(refused, QueueFull)
    assert batcher.stats.reasons == {"QueueFull": 1}


def test_who_waited_too_long_is_refused_and_the_next_is_computed() -> None:
    gate = Gate()

    async def ask(batcher: Batcher) -> list[object]:
        running = asyncio.ensure_future(batcher.run(rows(1)))
        await settle()
        late = asyncio.ensure_future(batcher.run(rows(2)))
        await asyncio.sleep(0.02)
        gate.open.set()
        return list(await asyncio.gather(running, late, return_exceptions=True))

    with batching(gate, queue_seconds=0.01) as batcher:
        first, late = asyncio.run(ask(batcher))

    assert isinstance(late, DeadlinePassed)
    assert gate.batches == [1]
    assert not isinstance(first, Exception)


def test_who_went_away_is_not_computed() -> None:
    gate = Gate()

    async def ask(batcher: Batcher) -> None:
        running = asyncio.ensure_future(batcher.run(rows(1)))
        await settle()
        gone = asyncio.ensure_future(batcher.run(rows(2)))
        await settle()
        gone.cancel()
        await settle()
        gate.open.set()
        await running
        await settle()

    with batching(gate) as batcher:
        asyncio.run(ask(batcher))

    assert gate.batches == [1]


@pytest.mark.parametrize("row_seconds", [0.0, SLOW])
def test_an_engine_that_fails_fails_its_batch_only(row_seconds: float) -> None:
    gate = Gate()
    gate.open.set()

    async def ask(batcher: Batcher) -> Tensors:
        with pytest.raises(ZeroDivisionError):
            await batcher.run(rows(-1))
        return await batcher.run(rows(1))

    with batching(gate, row_seconds=row_seconds) as batcher:
        outputs = asyncio.run(ask(batcher))

    assert flat([outputs]) == [[2]]


def test_who_shares_a_run_saw_all_of_it_and_a_request_in_parts_saw_them_all() -> None:
    stats = Stats()
    stats.ran(3, (0.001, 0.002, 0.003), 0, parts=3, first=3)
    stats.ran(4, (0.0, 0.010, 0.0), 0, parts=1, first=1)
    stats.ran(4, (0.0, 0.010, 0.0), 0, parts=1, first=0)

    told = tally(stats)
    _, computing, _ = told.steps.durations
    assert (computing.count, computing.ns) == (4, 26_000_000)
    assert (told.infer.count, told.rows) == (3, 11)
    by_rows = [(rows, steps.durations[1]) for rows, steps in told.batches]
    assert by_rows == [(3, Duration(1, 2_000_000)), (4, Duration(2, 20_000_000))]
    runs = told.run_steps
    assert runs.count == 3
    assert runs.seconds == pytest.approx((0.001, 0.022, 0.003))
    assert told.batch_rows.cumulative()[1:3] == [("2.0", 0.0), ("4.0", 3.0)]


def test_who_is_computed_alone_counts_with_those_that_wait() -> None:
    stats = Stats()
    stats.ran_alone(2, 0.004, 7)
    stats.began(0.002)
    stats.ran(2, (0.001, 0.002, 0.003), 8, parts=1, first=1)
    stats.answered(0.020)

    told = tally(stats)

    assert (told.rows, told.success, told.queued) == (
        4,
        Duration(2, 24_000_000),
        Duration(2, 2_000_000),
    )
    assert [one.count for one in (told.request, told.queue, told.infer, told.batch_rows)] == [2] * 4
    assert told.queue.cumulative()[0] == ("0.0001", 1.0)
    assert told.steps.seconds == pytest.approx((0.001, 0.006, 0.003))
    assert (told.steps.count, told.run_steps.count, stats.last_ms) == (2, 2, 8)


def test_what_happened_is_noted() -> None:
    gate = Gate()
    gate.open.set()
    with batching(gate) as batcher:
        asyncio.run(batcher.run(rows(1, 2)))

    told = tally(batcher.stats)
    assert (told.rows, told.success.count, told.infer.count, told.queued.count) == (2, 1, 1, 1)
    assert [rows for rows, _ in told.batches] == [2]
    assert told.batch_rows.cumulative()[1] == ("2.0", 1.0)


@pytest.mark.parametrize("row_seconds", [1e-6, SLOW])
def test_a_model_that_does_not_merge_gets_each_request_alone(row_seconds: float) -> None:
    gate = Gate()
    gate.open.set()

    async def ask(batcher: Batcher) -> list[Tensors]:
        return await asyncio.gather(*(batcher.run(rows(n, n)) for n in range(3)))

    with ThreadPoolExecutor(1, thread_name_prefix="engine") as executor:
        batcher = Batcher(
            gate,
            merges=False,
            limits=BatchLimits(rows=1),
            threads=EngineThreads(executor),
            stats=Stats(),
            row_seconds=row_seconds,
        )
        asyncio.run(ask(batcher))

    assert gate.batches == [2, 2, 2]
    assert any(name.startswith("engine") for name in gate.threads)  # while others wait
