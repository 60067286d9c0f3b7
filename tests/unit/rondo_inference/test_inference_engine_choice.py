"""Which engine computes what, with engines that take their time on a clock of the test."""

import logging
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rondo_core.errors import Invalid, NotFound, SettingsInvalid
from rondo_core.exports import (
    ONNX_FILE,
    SAVED_MODEL_FOLDER,
    TFLITE_FILE,
    ExportInvalid,
    Tolerance,
    export_file_key,
)
from rondo_core.testing import MemoryModelStore
from rondo_inference.domain.engine_choice import Choice, buckets, merged, winner
from rondo_inference.domain.tensors import Signature, TensorInfo, Tensors
from rondo_inference.engines.contest import ByRows, Contest
from rondo_inference.engines.engine import Engine
from rondo_inference.engines.golden import Golden
from rondo_inference.engines.runtimes import Engines, Runtime, open_engines
from rondo_inference.registry.catalogue import Catalogue
from rondo_inference.registry.collector import StatsCollector
from rondo_inference.registry.loader import load_version
from rondo_inference.registry.memory import Memory
from rondo_inference.registry.served import ServedModel
from rondo_inference.registry.slots import Slot
from rondo_inference.stats import StatsBook
from tests.unit.rondo_inference.exported import Export, prices_export
from tests.unit.rondo_inference.fakes import TABLE, batcher_of

INPUTS = np.array([[0, 0], [3, 1], [1, 0]], np.float32)
OUTPUTS = INPUTS @ np.array([[1], [10]], np.float32) + np.float32(1)
GOLDEN = Golden(INPUTS, OUTPUTS, Tolerance())


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class TimedEngine:
    """Answers as version 1 of the prices; how long it takes is up to the test."""

    clock: Clock
    seconds: Callable[[int], float] = lambda _: 1e-3
    bias: Callable[[int], float] = lambda _: 1.0
    signature: Signature = TABLE
    runs: list[int] = field(default_factory=list)

    def run(self, inputs: Tensors) -> Tensors:
        rows = len(inputs[0])
        self.runs.append(rows)
        self.clock.now += self.seconds(rows)
        weights = np.array([[1], [10]], np.float32)
        return (inputs[0] @ weights + np.float32(self.bias(rows)),)


class BrokenEngine:
    """Fails with more rows than it can hold."""

    signature = TABLE

    def __init__(self, most: int) -> None:
        self._most = most

    def run(self, inputs: Tensors) -> Tensors:
        if len(inputs[0]) > self._most:
            raise ExportInvalid("out of memory")
        return (inputs[0] @ np.array([[1], [10]], np.float32) + np.float32(1),)


def contest(clock: Clock, **engines: Engine) -> Contest:
    found = Contest(GOLDEN, 64, clock)
    for name, engine in engines.items():
        found.enter(name, engine)
    return found


# --- the rule -------------------------------------------------------------------------------------


@given(st.integers(1, 100_000))
def test_buckets_ascend_from_one_row_to_the_largest_batch(largest: int) -> None:
    found = buckets(largest)

    assert list(found) == sorted(set(found))
    assert (found[0], found[-1]) == (1, largest)


def test_an_engine_must_be_a_tenth_faster_to_be_preferred() -> None:
    assert winner({"onnxruntime": 1.0, "litert": 0.91}, "onnxruntime") == "onnxruntime"
    assert winner({"onnxruntime": 1.0, "litert": 0.89}, "onnxruntime") == "litert"
    assert winner({"onnxruntime": 0.91, "litert": 1.0}, "litert") == "litert"


def test_of_two_faster_ones_the_faster_is_taken() -> None:
    seconds = {"onnxruntime": 1.0, "litert": 0.8, "tensorflow": 0.79}

    assert winner(seconds, "onnxruntime") == "tensorflow"


def test_who_beat_the_preferred_one_before_has_no_advantage_over_others() -> None:
    assert winner({"litert": 0.8, "tensorflow": 0.79}, "onnxruntime") == "tensorflow"


def test_an_engine_that_wins_again_at_a_larger_size_is_listed_again() -> None:
    winners = [(1, "a"), (8, "b"), (32, "a"), (64, "a")]

    assert merged(winners) == ((1, "a"), (8, "b"), (64, "a"))


# --- the contest ----------------------------------------------------------------------------------


def test_the_faster_engine_computes_everything() -> None:
    clock = Clock()
    slow, fast = TimedEngine(clock), TimedEngine(clock, lambda _: 1e-4)

    assert contest(clock, onnxruntime=slow, litert=fast).by_rows() == ((64, "litert"),)


def test_engines_that_are_about_as_fast_leave_it_to_the_preferred_one() -> None:
    clock = Clock()
    slow, fast = TimedEngine(clock), TimedEngine(clock, lambda _: 0.95e-3)

    assert contest(clock, onnxruntime=slow, litert=fast).by_rows() == ((64, "onnxruntime"),)


def test_an_engine_that_is_faster_with_few_rows_computes_those() -> None:
    clock = Clock()
    steady = TimedEngine(clock)
    small = TimedEngine(clock, lambda rows: 1e-4 * rows)

    found = contest(clock, onnxruntime=steady, litert=small)

    assert found.by_rows() == ((8, "litert"), (64, "onnxruntime"))
    assert found.seconds[8] == pytest.approx({"onnxruntime": 1e-3, "litert": 8e-4})


def test_one_slow_run_in_between_changes_nothing() -> None:
    clock = Clock()
    hiccup = iter([5e-4] * 4 + [0.2] + [5e-4] * 100)
    found = contest(
        clock, onnxruntime=TimedEngine(clock), litert=TimedEngine(clock, lambda _: next(hiccup))
    )

    assert found.by_rows() == ((64, "litert"),)


def test_what_was_not_measured_in_time_is_left_to_the_preferred_engine() -> None:
    clock = Clock()
    slow = TimedEngine(clock, lambda rows: 0.02 * rows)
    fast = TimedEngine(clock, lambda rows: 0.01 * rows)

    found = contest(clock, onnxruntime=slow, litert=fast)

    assert found.by_rows() == ((1, "litert"), (64, "onnxruntime"))
    assert clock.now < 1 + 0.03 * 64
    assert max(slow.runs) == 8


def test_an_engine_that_fails_with_many_rows_is_taken_out_whatever_it_won() -> None:
    clock = Clock()
    found = contest(clock, onnxruntime=TimedEngine(clock), litert=BrokenEngine(most=8))

    assert found.by_rows() == ((64, "onnxruntime"),)
    assert str(found.errors["litert"]) == "out of memory"


def test_an_engine_that_is_wrong_with_many_rows_is_taken_out() -> None:
    clock = Clock()
    wrong = TimedEngine(clock, lambda _: 1e-6, bias=lambda rows: 1.0 if rows < 32 else 2.0)

    found = contest(clock, onnxruntime=TimedEngine(clock), litert=wrong)

    assert found.by_rows() == ((64, "onnxruntime"),)
    assert "litert with 32 rows: an output is 1 away" in str(found.errors["litert"])


def test_the_preferred_engine_may_be_the_one_that_fails() -> None:
    clock = Clock()
    found = contest(clock, onnxruntime=BrokenEngine(most=8), litert=TimedEngine(clock))

    assert found.by_rows() == ((64, "litert"),)


def test_a_version_that_no_engine_can_compute_is_refused() -> None:
    found = contest(Clock(), onnxruntime=BrokenEngine(most=8), litert=BrokenEngine(most=1))

    with pytest.raises(ExportInvalid, match="out of memory"):
        found.by_rows()


@given(
    st.lists(st.lists(st.integers(1, 20), min_size=4, max_size=4), min_size=1, max_size=5),
)
def test_one_after_the_other_they_get_what_they_would_get_all_at_once(
    table: list[list[int]],
) -> None:
    clock, sizes = Clock(), buckets(64)
    ticks = [{rows: n / 2**14 for rows, n in zip(sizes, row, strict=True)} for row in table]
    engines = {f"engine{k}": TimedEngine(clock, one.__getitem__) for k, one in enumerate(ticks)}

    found = contest(clock, **engines)

    at_once = {
        rows: winner({f"engine{k}": one[rows] for k, one in enumerate(ticks)}, "engine0")
        for rows in sizes
    }
    assert found.by_rows() == merged(at_once.items())
    assert found.engines.keys() == set(at_once.values())


def test_where_all_failed_together_the_next_one_is_held_against_every_size_too() -> None:
    failed = {"onnxruntime": BrokenEngine(most=1), "litert": BrokenEngine(most=8)}

    with pytest.raises(ExportInvalid, match="out of memory"):
        contest(Clock(), **failed, tensorflow=BrokenEngine(most=8)).by_rows()
    assert contest(Clock(), **failed, tensorflow=TimedEngine(Clock())).by_rows() == (
        (64, "tensorflow"),
    )


def test_what_a_later_engine_was_not_measured_at_stays_with_who_computed_it() -> None:
    clock = Clock()
    found = contest(
        clock,
        onnxruntime=TimedEngine(clock),
        litert=TimedEngine(clock, lambda _: 1e-4),
        tensorflow=TimedEngine(clock, lambda rows: 1e-5 if rows == 1 else 1.0),
    )

    assert found.by_rows() == ((1, "tensorflow"), (64, "litert"))


@pytest.mark.parametrize(("rows", "place"), [(1, 0), (2, 1), (8, 1), (9, 2), (64, 2), (1000, 2)])
def test_a_batch_goes_to_the_engine_of_its_size(rows: int, place: int) -> None:
    engines = [TimedEngine(Clock()) for _ in range(3)]
    engine = ByRows(list(zip((1, 8, 64), engines, strict=True)))

    engine.run((np.zeros((rows, 2), np.float32),))

    assert [one.runs for one in engines] == [[rows] if at == place else [] for at in range(3)]


# --- loading --------------------------------------------------------------------------------------


def opener(engine: Engine) -> Callable[[Path], Engine]:
    return lambda _: engine


def refusing(_: Path) -> Engine:
    raise ExportInvalid("model.tflite: LiteRT refuses it: no flatbuffer")


ONNX = open_engines("onnxruntime", threads=1, copies=1, largest=8).runtimes[0]


@dataclass
class Ticking:
    """Another engine, of which each run takes a millisecond of the test's clock."""

    engine: Engine
    clock: Clock
    signature: Signature = TABLE

    def run(self, inputs: Tensors) -> Tensors:
        self.clock.now += 1e-3
        return self.engine.run(inputs)


def both(open_litert: Callable[[Path], Engine]) -> Engines:
    clock = Clock()
    onnx = Runtime("onnxruntime", ONNX_FILE, lambda folder: Ticking(ONNX.open(folder), clock))
    return Engines((onnx, Runtime("litert", TFLITE_FILE, open_litert)), 8, clock)


def load(export: Export, engines: Engines) -> ServedModel:
    store = MemoryModelStore()
    export.store(store)
    return load_version(
        export.alias,
        store=store,
        engines=engines,
        open_batcher=lambda _alias, engine, _seconds: batcher_of(engine),
    )


def with_tflite() -> Export:
    return prices_export(1).with_file(TFLITE_FILE, b"a flatbuffer")


class AtOnce:
    """Right, in no time."""

    signature = TABLE

    def run(self, inputs: Tensors) -> Tensors:
        return (inputs[0] @ np.array([[1], [10]], np.float32) + np.float32(1),)


def test_an_engine_that_agrees_and_is_faster_serves() -> None:
    engine = AtOnce()

    served = load(with_tflite(), both(opener(engine)))

    assert served.engine is engine
    assert served.choice == Choice(((8, "litert"),))


def test_an_engine_that_disagrees_is_dropped_with_a_reason(
    caplog: pytest.LogCaptureFixture,
) -> None:
    wrong = TimedEngine(Clock(), bias=lambda _: 2.0)

    with caplog.at_level(logging.INFO):
        served = load(with_tflite(), both(opener(wrong)))

    assert served.choice.by_rows == ((8, "onnxruntime"),)
    assert "model.tflite: an output is 1 away" in served.choice.dropped["litert"]
    (record,) = caplog.records
    assert (record.levelname, record.__dict__["engine"]) == ("WARNING", "litert")


def test_the_choice_is_logged_with_what_each_engine_took(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        load(with_tflite(), both(opener(AtOnce())))

    (record,) = caplog.records
    assert record.__dict__["up_to_rows"] == {"8": "litert"}
    assert record.__dict__["seconds"].keys() == {"1", "8"}
    assert record.__dict__["seconds"]["1"].keys() == {"onnxruntime", "litert"}


def test_an_engine_that_cannot_be_opened_is_dropped() -> None:
    served = load(with_tflite(), both(refusing))

    assert served.choice == Choice(
        ((8, "onnxruntime"),), {"litert": "model.tflite: LiteRT refuses it: no flatbuffer"}
    )


def test_engines_that_won_nothing_are_let_go_at_once() -> None:
    opened: list[weakref.ref[Engine]] = []

    def noted(engine: Engine) -> Engine:
        opened.append(weakref.ref(engine))
        return engine

    slow, wrong = (
        Runtime("litert", TFLITE_FILE, lambda _: noted(TimedEngine(Clock()))),
        Runtime("tensorflow", TFLITE_FILE, lambda _: noted(TimedEngine(Clock(), bias=lambda _: 2))),
    )

    served = load(with_tflite(), Engines((Runtime("fake", ONNX_FILE, slow.open), slow, wrong), 8))

    assert served.engine is opened[0]()
    assert [one() for one in opened[1:]] == [None, None]


@dataclass
class Crowd:
    """Knows how many of its engines there were at a time."""

    clock: Clock = field(default_factory=Clock)
    now: int = 0
    most: int = 0

    def runtime(self, name: str, seconds: Callable[[int], float], bias: float = 1.0) -> Runtime:
        def opened(_: Path) -> Engine:
            engine = TimedEngine(self.clock, seconds, bias=lambda _: bias)
            self.now += 1
            self.most = max(self.most, self.now)
            weakref.finalize(engine, self._gone)
            return engine

        return Runtime(name, TFLITE_FILE, opened)

    def refusing(self, name: str) -> Runtime:
        """Return what fails where an engine is half made."""
        half = self.runtime(name, lambda _: 1e-6)

        def fail(folder: Path) -> None:
            engine = half.open(folder)
            raise ValueError(engine.signature)

        def opened(folder: Path) -> Engine:
            try:
                fail(folder)
            except ValueError as exc:
                raise ExportInvalid("refused") from exc
            raise AssertionError

        return Runtime(name, TFLITE_FILE, opened)

    def _gone(self) -> None:
        self.now -= 1


def test_of_many_engines_the_best_one_so_far_and_the_one_that_is_tried_are_open() -> None:
    crowd = Crowd()
    runtimes = [
        crowd.refusing("refused"),
        crowd.runtime("wrong", lambda _: 1e-6, bias=2.0),
        crowd.runtime("preferred", lambda _: 1e-3),
        crowd.runtime("slower", lambda _: 2e-3),
        crowd.runtime("faster", lambda _: 5e-4),
        crowd.runtime("wrong too", lambda _: 1e-6, bias=3.0),
        crowd.runtime("fastest", lambda _: 1e-4),
        crowd.runtime("late", lambda _: 2e-4),
    ]

    served = load(with_tflite(), Engines(tuple(runtimes), 64, crowd.clock))

    assert served.choice.by_rows == ((64, "fastest"),)
    assert served.choice.dropped.keys() == {"refused", "wrong", "wrong too"}
    assert (crowd.most, crowd.now) == (2, 1)


def test_engines_that_each_win_some_size_stay_open_and_no_other_beside_the_one_tried() -> None:
    crowd = Crowd()
    runtimes = [
        crowd.runtime("large", lambda _: 1e-3),
        crowd.runtime("small", lambda rows: 1e-4 * rows),
        crowd.runtime("slow", lambda _: 2e-3),
        crowd.runtime("tiny", lambda rows: 1e-5 if rows == 1 else 1e-2),
        crowd.runtime("slow too", lambda _: 2e-3),
    ]

    served = load(with_tflite(), Engines(tuple(runtimes), 64, crowd.clock))

    assert served.choice.by_rows == ((1, "tiny"), (8, "small"), (64, "large"))
    assert (crowd.most, crowd.now) == (4, 3)


def test_an_engine_with_another_input_is_dropped() -> None:
    other = Signature((TensorInfo("x", "FP32", (-1, 2)),), TABLE.outputs)

    served = load(with_tflite(), both(opener(TimedEngine(Clock(), signature=other))))

    assert "its input is [('x', 'FP32', 2)]" in served.choice.dropped["litert"]


def test_a_damaged_file_of_one_engine_does_not_stop_the_others() -> None:
    export, store = with_tflite(), MemoryModelStore()
    del export.files[TFLITE_FILE]
    export.store(store)
    store.put(export_file_key(export.index, TFLITE_FILE), b"a flatbuffet")

    served = load_version(
        export.alias,
        store=store,
        engines=both(opener(AtOnce())),
        open_batcher=lambda _alias, engine, _seconds: batcher_of(engine),
    )

    assert served.choice.by_rows == ((8, "onnxruntime"),)
    assert "12 bytes with SHA-256" in served.choice.dropped["litert"]


def test_a_version_without_the_file_of_an_engine_is_served_by_the_others() -> None:
    served = load(prices_export(1), both(refusing))

    assert served.choice == Choice(((8, "onnxruntime"),))


def test_a_model_that_onnx_runtime_computes_wrongly_is_served_by_one_that_agrees() -> None:
    export = with_tflite().with_file(ONNX_FILE, prices_export(2).files[ONNX_FILE])

    served = load(export, both(opener(AtOnce())))

    assert served.choice.by_rows == ((8, "litert"),)
    assert served.choice.dropped.keys() == {"onnxruntime"}


def test_where_every_engine_fails_the_preferred_ones_error_is_told() -> None:
    export = with_tflite().with_file(ONNX_FILE, b"nothing")

    with pytest.raises(Invalid, match="ONNX Runtime refuses it"):
        load(export, both(refusing))


def test_an_export_that_no_engine_here_reads_is_not_found() -> None:
    with pytest.raises(NotFound, match="no file that an engine reads"):
        load(prices_export(1), Engines((Runtime("litert", TFLITE_FILE, refusing),)))


def test_what_only_other_runtimes_read_is_not_fetched() -> None:
    export = prices_export(1).with_file(f"{SAVED_MODEL_FOLDER}/saved_model.pb", b"a graph")
    del export.files[f"{SAVED_MODEL_FOLDER}/saved_model.pb"]  # listed, and not there

    assert load(export, both(refusing)).choice == Choice(((8, "onnxruntime"),))


def test_a_folder_is_read_as_a_whole() -> None:
    seen: dict[str, bytes] = {}

    def opened(folder: Path) -> Engine:
        found = [path for path in folder.rglob("*") if path.is_file()]
        seen.update({path.relative_to(folder).as_posix(): path.read_bytes() for path in found})
        return AtOnce()

    export = prices_export(1)
    files = {f"{SAVED_MODEL_FOLDER}/{name}": name.encode() for name in ("a.pb", "variables/b")}
    for name, data in files.items():
        export = export.with_file(name, data)

    load(export, Engines((Runtime("tensorflow", SAVED_MODEL_FOLDER, opened),), largest=8))

    assert seen == files


def test_a_dropped_engine_is_counted_and_the_choice_is_measured() -> None:
    book = StatsBook()
    memory = Memory(Catalogue(), lambda _: load(with_tflite(), both(refusing)), book)
    alias = with_tflite().alias
    memory.catalogue.store(Slot(alias))
    memory.bring(alias)

    found = {
        (sample.name, *sample.labels.values()): sample.value
        for family in StatsCollector(book, memory).collect()
        for sample in family.samples
        if "engine" in sample.labels
    }

    assert found == {
        ("rondo_inference_engine_rows", "prices", "1", "onnxruntime"): 8,
        ("rondo_inference_engines_dropped_total", "litert", "prices"): 1,
    }


# --- the setting ----------------------------------------------------------------------------------


def named(engines: str) -> list[tuple[str, bool]]:
    found = open_engines(engines, threads=1, copies=1, largest=8)
    return [(runtime.name, runtime.spare) for runtime in found.runtimes]


def test_one_name_pins_an_engine_and_onnx_runtime_is_the_spare() -> None:
    assert named("litert") == [("litert", False), ("onnxruntime", True)]
    assert named(" onnxruntime ") == [("onnxruntime", False)]


def test_the_order_of_the_names_is_the_order_of_preference() -> None:
    assert named("litert,onnxruntime") == [("litert", False), ("onnxruntime", False)]


def test_without_names_tensorflow_takes_no_part() -> None:
    assert named("") == [("onnxruntime", False), ("litert", False)]


@pytest.mark.parametrize(
    ("engines", "fault"),
    [
        ("onnx", "ENGINES: 'onnx' is none of onnxruntime, litert, tensorflow"),
        ("litert,litert", "ENGINES: 'litert' is there twice"),
    ],
)
def test_a_name_that_cannot_be_is_refused(engines: str, fault: str) -> None:
    with pytest.raises(SettingsInvalid, match=fault):
        named(engines)


def test_a_pinned_engine_serves_and_the_spare_is_not_opened() -> None:
    spare = Runtime("onnxruntime", ONNX_FILE, refusing, spare=True)
    pinned = Runtime("litert", TFLITE_FILE, opener(AtOnce()))

    assert load(with_tflite(), Engines((pinned, spare), 8)).choice == Choice(((8, "litert"),))


def test_the_spare_serves_what_the_pinned_engine_cannot() -> None:
    spare = Runtime("onnxruntime", ONNX_FILE, ONNX.open, spare=True)
    pinned = Runtime("litert", TFLITE_FILE, refusing)

    served = load(with_tflite(), Engines((pinned, spare), 8))

    assert served.choice.by_rows == ((8, "onnxruntime"),)
    assert served.choice.dropped.keys() == {"litert"}
