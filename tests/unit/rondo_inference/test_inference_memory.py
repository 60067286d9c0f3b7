"""What is loaded: on demand, once, under a cap, and never taken from who uses it."""

import asyncio
import os
import threading
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from rondo_core.errors import Invalid, NotFound, RondoError, Unavailable
from rondo_core.model_rows import AliasRow
from rondo_core.testing import ManualClock
from rondo_inference.registry import memory
from rondo_inference.registry.catalogue import Catalogue
from rondo_inference.registry.loading import Loading
from rondo_inference.registry.memory import Memory, NoRoom
from rondo_inference.registry.served import ServedModel
from rondo_inference.registry.slots import Slot
from rondo_inference.registry.standing_back import (
    A_REQUEST_WAITS,
    NOBODY_WAITS,
    Patience,
    yield_the_cpu,
)
from rondo_inference.stats import StatsBook
from tests.unit.rondo_inference.asked import predict_price, running
from tests.unit.rondo_inference.exported import (
    prices_export,
    shapes_export,
    write_onnx,
    write_version,
)
from tests.unit.rondo_inference.fakes import served_by

MEGABYTE = 1_000_000


@dataclass
class Loader:
    """Loads versions of a megabyte each."""

    loads: list[str] = field(default_factory=list)
    fault: RondoError | None = None
    gate: threading.Event | None = None
    resident: int = 0

    def __call__(self, alias: AliasRow) -> ServedModel:
        self.loads.append(f"{alias.model} {alias.model_version}")
        if self.gate is not None:
            self.gate.wait(20)
        if self.fault is not None:
            raise self.fault
        self.resident += MEGABYTE
        export = prices_export(alias.model_version) if alias.model == "prices" else shapes_export()
        made = served_by(export)
        served = ServedModel(alias, export.spec, made.engine, made.batcher, made.choice)
        weakref.finalize(served.batcher, self._freed)
        return served

    def _freed(self) -> None:
        self.resident -= MEGABYTE


@dataclass
class Room:
    """A memory with a cap, on a catalogue of lazy slots."""

    cap: int = 0
    pinned: frozenset[str] = frozenset()
    loader: Loader = field(default_factory=Loader)
    clock: ManualClock = field(default_factory=ManualClock)
    book: StatsBook = field(default_factory=StatsBook)
    catalogue: Catalogue = field(default_factory=Catalogue)

    def __post_init__(self) -> None:
        self.memory = Memory(
            self.catalogue,
            self.loader,
            self.book,
            cap_bytes=self.cap,
            pinned=self.pinned,
            measure=lambda: self.loader.resident,
        )

    def bring(self, alias: AliasRow) -> ServedModel:
        if not any(slot.wanted == alias for slot in self.catalogue.slots()):
            self.catalogue.store(Slot(alias, lazy=True))
        self.clock.advance(1)
        return self.memory.bring(alias)


def alias(version: int, label: str | None = None) -> AliasRow:
    return prices_export(version, label=label or f"v{version}").alias


def loaded(room: Room) -> list[int]:
    return sorted(slot.served.version for slot in room.catalogue.slots() if slot.served)


def test_a_version_of_two_labels_is_loaded_once() -> None:
    room = Room()

    first, second = room.bring(alias(1, "champion")), room.bring(alias(1, "candidate"))

    assert first is second
    assert room.loader.loads == ["prices 1"]


def test_its_size_is_what_the_process_grew_by() -> None:
    room = Room()

    served = room.bring(alias(1))

    assert (served.usage.size_bytes, room.memory.used_bytes) == (MEGABYTE, MEGABYTE)


def test_over_the_cap_who_is_idle_longest_goes() -> None:
    room = Room(cap=2 * MEGABYTE)
    first = room.bring(alias(1))
    room.bring(alias(2))
    room.clock.advance(1)
    room.memory.take(first)
    room.memory.give(first)

    room.bring(alias(3))

    assert loaded(room) == [1, 3]
    assert room.book.events["eviction", "prices"] == 1


def test_who_answers_for_a_version_that_cannot_be_loaded_goes_last() -> None:
    room = Room(cap=2 * MEGABYTE)
    old = room.bring(alias(1, "champion"))
    room.catalogue.store(Slot(alias(9, "champion"), old, "its digest is another"))
    room.bring(alias(2))

    room.bring(alias(3))

    assert loaded(room) == [1, 3]


def test_who_is_in_use_or_pinned_stays_and_there_is_no_room() -> None:
    room = Room(cap=MEGABYTE)
    used = room.bring(alias(1))
    room.memory.take(used)
    pinned = Room(cap=MEGABYTE, pinned=frozenset({"prices"}))
    pinned.bring(alias(1))

    for one in (room, pinned):
        with pytest.raises(NoRoom, match="'prices' takes 1000000 bytes, and 1000000 of 1000000"):
            one.bring(alias(2))
        assert loaded(one) == [1]


def test_what_turns_out_too_large_is_given_back_before_that_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    room = Room(cap=MEGABYTE)
    returned: list[int] = []
    monkeypatch.setattr(memory, "give_back", lambda: returned.append(room.loader.resident))
    room.memory.take(room.bring(alias(1)))
    returned.clear()

    with pytest.raises(NoRoom) as refused:
        room.bring(alias(2))

    before_the_load, after_it = returned
    assert room.loader.loads == ["prices 1", "prices 2"]
    assert (before_the_load, after_it) == (MEGABYTE, MEGABYTE)
    assert refused.value.__traceback__ is not None, "it is still there, and holds nothing"


def test_an_evicted_version_cannot_be_taken_any_more() -> None:
    room = Room(cap=MEGABYTE)
    first = room.bring(alias(1))

    room.bring(alias(2))

    assert not room.memory.take(first)


def test_a_known_size_is_made_room_for_before_the_load() -> None:
    room = Room(cap=MEGABYTE)
    room.bring(alias(1))
    room.bring(alias(2))
    room.memory.take(room.catalogue.find("prices", version=2))
    room.loader.loads.clear()

    with pytest.raises(NoRoom):
        room.bring(alias(1))

    assert room.loader.loads == []


def test_dropping_waits_for_the_last_lease() -> None:
    room = Room()
    served = room.bring(alias(1))
    room.memory.take(served)

    early = room.memory.drop(served, patience_seconds=0.01)
    waiting = threading.Timer(0.02, room.memory.give, [served])
    waiting.start()
    late = room.memory.drop(served, patience_seconds=20)
    waiting.join()

    assert (early, late, room.memory.used_bytes) == (False, True, 0)


def test_a_swapped_version_is_not_counted_any_more() -> None:
    room = Room()
    room.bring(alias(1, "champion"))
    room.catalogue.store(Slot(alias(2, "champion"), lazy=True))

    room.bring(alias(2, "champion"))
    room.bring(alias(2, "champion"))

    assert room.memory.used_bytes == MEGABYTE


def test_a_replaced_version_goes_unless_another_alias_wants_it(tmp_path: Path) -> None:
    write_version(prices_export(1), tmp_path)
    with running(models=tmp_path) as service:
        (tmp_path / "prices" / "labels.json").write_text('{"stable": 1}')
        service.watcher.scan()
        for version in (2, 3):
            write_version(prices_export(version), tmp_path)
            service.watcher.scan()
        loaded_now = {slot.served.version for slot in service.catalogue.slots() if slot.served}

        assert loaded_now == {1, 3}
        assert predict_price(service, "prices/versions/2") == (200, "2")


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1, "loader", yield_the_cpu, (A_REQUEST_WAITS,)) as found:
        yield found


def test_any_number_of_callers_share_one_load(executor: ThreadPoolExecutor) -> None:
    room = Room(loader=Loader(gate=threading.Event()))
    slot = Slot(alias(1), lazy=True)
    room.catalogue.store(slot)
    loading = Loading(room.memory.bring, room.catalogue, executor, Patience())

    async def ask() -> list[object]:
        callers = [asyncio.ensure_future(loading.load(slot)) for _ in range(5)]
        await asyncio.sleep(0)
        callers[0].cancel()  # who goes away does not stop the others
        assert room.loader.gate is not None
        room.loader.gate.set()
        return await asyncio.gather(*callers, return_exceptions=True)

    gone, *others = asyncio.run(ask())

    assert room.loader.loads == ["prices 1"]
    assert isinstance(gone, asyncio.CancelledError)
    assert all(isinstance(one, ServedModel) for one in others)


@pytest.mark.parametrize(
    ("fault", "text"),
    [(Invalid("bad digest"), "cannot be loaded: bad digest"), (Unavailable("away"), "away")],
)
def test_a_load_that_fails_is_unavailable_and_the_slot_says_why(
    executor: ThreadPoolExecutor, fault: RondoError, text: str
) -> None:
    room = Room(loader=Loader(fault=fault))
    slot = Slot(alias(1, "champion"), lazy=True)
    room.catalogue.store(slot)
    loading = Loading(room.memory.bring, room.catalogue, executor, Patience())

    with pytest.raises(Unavailable, match=text):
        asyncio.run(loading.load(slot))

    (status,) = room.catalogue.status("prices")
    assert status.state == ("END" if isinstance(fault, Invalid) else "START")


def test_a_load_that_a_request_waits_for_stands_back_less_than_one_of_a_promotion(
    tmp_path: Path,
) -> None:
    with running(models=tmp_path) as service:
        loader = service.app.inference.loading.executor
        niceness = loader.submit(os.getpriority, os.PRIO_PROCESS, 0).result(20)

    assert os.getpriority(os.PRIO_PROCESS, 0) < niceness < NOBODY_WAITS


def test_many_models_are_served_under_a_cap_that_holds_few(tmp_path: Path) -> None:
    for number in range(20):
        write_onnx(tmp_path, f"m{number:02}", prices_export().files["model.onnx"])
    body = {"instances": [[3, 1]]}
    with running(models=tmp_path, load_on_demand=True, model_memory_bytes=4 * MEGABYTE) as service:
        sizes = iter(range(0, 10**9, MEGABYTE))
        service.parts.memory.measure = sizes.__next__
        for number in [*range(20), *range(20)]:
            service.clock.advance(1)
            reply = service.ask("POST", f"/v1/models/m{number:02}:predict", body)
            assert reply.json == {"predictions": [[14]]}
        held = [slot.wanted.model for slot in service.catalogue.slots() if slot.served]

    assert sorted(set(held)) == ["m16", "m17", "m18", "m19"]


def test_not_found_is_told_for_a_model_without_a_slot() -> None:
    with pytest.raises(NotFound):
        Catalogue().resolve("cats")
