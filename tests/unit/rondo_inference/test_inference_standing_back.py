"""Loads that nobody waits for rest between their steps while requests want the CPU."""

import asyncio
import hashlib
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from rondo_core.exports import ExportInvalid
from rondo_core.model_rows import AliasRow
from rondo_core.testing import MemoryModelStore
from rondo_inference.domain.tensors import Tensors, rows_of
from rondo_inference.engines.engine import Engine
from rondo_inference.engines.golden import Golden
from rondo_inference.engines.runtimes import Engines, Runtime
from rondo_inference.registry import loader, proving, standing_back
from rondo_inference.registry.catalogue import Catalogue
from rondo_inference.registry.loader import load_version
from rondo_inference.registry.loading import Loading
from rondo_inference.registry.slots import Slot
from rondo_inference.registry.standing_back import Patience
from tests.unit.rondo_inference.asked import running
from tests.unit.rondo_inference.exported import prices_export, write_version
from tests.unit.rondo_inference.fakes import TABLE, batcher_of, onnx_alone

DEADLINE = 60.0
BLOCK = b"x" * 2**20


def compute(seconds: float) -> None:
    """Take CPU time, without the interpreter's lock for most of it."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        hashlib.sha256(BLOCK)


@contextmanager
def others_that_compute() -> Iterator[None]:
    stop = threading.Event()

    def go_on() -> None:
        while not stop.is_set():
            hashlib.sha256(BLOCK)

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def test_a_load_rests_nineteen_times_as_long_as_it_computed_beside_requests() -> None:
    rests: list[float] = []
    patience = Patience(rests.append)

    with others_that_compute(), patience.step():
        compute(0.02)

    (seconds,) = rests
    assert 0.37 < seconds <= 1.0


def test_it_does_not_rest_where_nobody_else_computes() -> None:
    rests: list[float] = []
    patience = Patience(rests.append)

    with patience.step():
        compute(0.02)

    assert rests == []


@pytest.fixture
def rests(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Let every step of a load that nobody waits for rest, and note it."""
    found: list[float] = []

    def much(_own: float, others: float, elapsed: float) -> float:
        del others, elapsed
        found.append(1.0)
        return 0.001

    monkeypatch.setattr(standing_back, "rest_seconds", much)
    return found


def test_no_load_rests_while_somebody_waits_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standing_back, "rest_seconds", lambda *_, **__: 1.0)
    taken: list[float] = []
    patience = Patience(taken.append)

    with patience.hurry():
        with patience.hurry():
            pass
        with patience.step():
            pass
    before = len(taken)
    with patience.step():
        pass

    assert (before, taken) == (0, [1.0])


def test_a_rest_ends_when_somebody_begins_to_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standing_back, "rest_seconds", lambda *_, **__: 10 * DEADLINE)
    patience, began = Patience(), threading.Event()

    def load() -> None:
        with patience.step():
            began.set()

    thread = threading.Thread(target=load, daemon=True)
    thread.start()
    assert began.wait(DEADLINE)
    with patience.hurry():
        thread.join(DEADLINE)

        assert not thread.is_alive()


def test_a_load_that_a_request_asked_for_does_not_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standing_back, "rest_seconds", lambda *_, **__: 1.0)
    taken: list[float] = []
    patience, alias = Patience(taken.append), prices_export(1).alias

    def bring(_: AliasRow) -> object:
        with patience.step():
            return None

    with ThreadPoolExecutor(1) as executor:
        loading = Loading(bring, Catalogue(), executor, patience)  # type: ignore[arg-type]
        asyncio.run(loading.load(Slot(alias, lazy=True)))
    before = len(taken)
    bring(alias)

    assert (before, taken) == (0, [1.0])


def test_an_eviction_that_somebody_asked_for_waits_for_no_rest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(standing_back, "rest_seconds", lambda *_, **__: 10 * DEADLINE)
    patience, began, loads = Patience(), threading.Event(), threading.Lock()

    class Held:
        """A memory whose turn a resting load has."""

        def drop(self, _served: object, *, patience_seconds: float) -> bool:
            return loads.acquire(timeout=patience_seconds)

    def load() -> None:
        with loads, patience.step():
            began.set()

    threading.Thread(target=load, daemon=True).start()
    assert began.wait(DEADLINE)
    with ThreadPoolExecutor(1) as executor:
        loading = Loading(load, Catalogue(), executor, patience)  # type: ignore[arg-type]
        unloaded = loading.unload(Held(), object(), DEADLINE)  # type: ignore[arg-type]

        assert asyncio.run(unloaded)


def test_a_promotion_rests_between_its_steps(tmp_path: Path, rests: list[float]) -> None:
    write_version(prices_export(1), tmp_path)
    with running(models=tmp_path) as service:
        del rests[:]
        write_version(prices_export(2), tmp_path)
        service.watcher.scan()

    files, opened, checked, warmed = 1, 1, 2, 7
    assert len(rests) == files + opened + checked + warmed


def test_whatever_takes_long_is_done_in_a_step() -> None:
    inside: list[bool] = []
    done: list[str] = []
    onnx = onnx_alone().runtimes[0]

    @contextmanager
    def step() -> Iterator[None]:
        inside.append(True)
        yield
        inside.pop()

    class Watched:
        signature = TABLE

        def __init__(self, engine: Engine) -> None:
            self.engine = engine

        def run(self, inputs: Tensors) -> Tensors:
            done.append(f"run {rows_of(inputs)}")
            assert inside == [True]
            return self.engine.run(inputs)

    def opened(folder: Path) -> Engine:
        done.append("open")
        assert inside == [True]
        return Watched(onnx.open(folder))

    export, store = prices_export(), MemoryModelStore()
    export.store(store)
    load_version(
        export.alias,
        store=store,
        engines=Engines((Runtime("onnxruntime", onnx.file, opened),), 8, step=step),
        open_batcher=lambda _alias, engine, _seconds: batcher_of(engine),
    )

    assert done[0] == "open"
    assert done[2:] == [f"run {rows}" for rows in (1, 2, 4, 8, 1, 1, 1)]


def test_a_row_is_expected_to_cost_what_the_cheapest_run_did(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = SimpleNamespace(now=0.0)
    costs = {1: 0.5, 2: 3.0, 4: 0.8, 8: 4.0}

    class Slow:
        signature = TABLE

        def run(self, inputs: Tensors) -> Tensors:
            clock.now += costs[rows_of(inputs)]
            return (np.zeros((rows_of(inputs), 1), np.float32),)

    monkeypatch.setattr(proving, "time", SimpleNamespace(perf_counter=lambda: clock.now))
    found: list[float] = []
    export, store = prices_export(), MemoryModelStore()
    export.store(store)
    monkeypatch.setattr(Golden, "check", lambda *_, **__: None)

    def open_batcher(_alias: AliasRow, engine: Engine, row_seconds: float) -> object:
        found.append(row_seconds)
        return batcher_of(engine)

    load_version(
        export.alias,
        store=store,
        engines=Engines((Runtime("onnxruntime", "model.onnx", lambda _: Slow()),), 8),
        open_batcher=open_batcher,  # type: ignore[arg-type]
    )

    assert found == [pytest.approx(0.8 / 4)]


def test_the_heap_is_gone_through_only_where_an_engine_was_let_go(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trims: list[str] = []
    monkeypatch.setattr(loader, "give_back", lambda: trims.append("trim"))
    export, store = prices_export(), MemoryModelStore()
    export.store(store)

    def refusing(_: Path) -> Engine:
        raise ExportInvalid("model.onnx: no engine of ours")

    def load(*runtimes: Runtime, clock: Callable[[], float] = time.perf_counter) -> None:
        load_version(
            export.alias,
            store=store,
            engines=Engines(runtimes, 8, clock),
            open_batcher=lambda _alias, engine, _seconds: batcher_of(engine),
        )

    (onnx,) = onnx_alone().runtimes
    load(onnx)
    alone = list(trims)
    load(Runtime("other", onnx.file, refusing), onnx)
    dropped = list(trims)
    second = Runtime("second", onnx.file, onnx.open)
    load(onnx, second, clock=itertools.count(step=10.0).__next__)  # no time to measure either

    assert (alone, dropped, trims) == ([], ["trim"], ["trim"] * 2)
