"""What is loaded: on demand, once, under a cap, and never taken from who uses it."""

import asyncio
import os
import threading
import weakref
from collections.abc import Callable, Iterator
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
from tests.unit.rondo_inference.asked import Service, running
from tests.unit.rondo_inference.exported import (
    prices_export,
    sample_folder,
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
        assert predict(service, "prices/versions/2") == (200, "2")


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


# --- on a folder ----------------------------------------------------------------------------------


ROW = {"instances": [[3, "Bonn"]]}


def predict(service: Service, path: str = "prices") -> tuple[int, str | None]:
    reply = service.ask("POST", f"/v1/models/{path}:predict", ROW)
    return reply.status, reply.headers.get("x-rondo-version")


def test_a_folder_is_read_again_when_it_changes(tmp_path: Path) -> None:
    write_version(prices_export(1), tmp_path)
    with running(models=tmp_path) as service:
        first = predict(service)
        write_version(prices_export(2), tmp_path)
        service.watcher.scan()
        second = predict(service)
        (tmp_path / "prices" / "labels.json").write_text('{"champion": 1}')
        service.watcher.scan()

        assert [first, second, predict(service)] == [(200, "1"), (200, "2"), (200, "1")]
        assert predict(service, "prices/labels/v2") == (200, "2")
        assert predict(service, "prices/versions/2") == (200, "2")


def spoil(name: str, data: bytes) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / name).write_bytes(data)

    return change


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (spoil("labels.json", b"["), "labels.json"),
        (spoil("labels.json", b'{"champion": 9}'), "'champion' is version 9, not there"),
        (spoil("labels.json", b'{"": 1}'), "Expected `str` matching regex"),
        (spoil("labels.json", b'{"a/b": 1}'), "labels.json: Expected `str` matching regex"),
        (spoil("traffic.json", b"{}"), "not a traffic split"),
        (spoil("1/version.json", b"3"), "version.json"),
    ],
)
def test_a_malformed_folder_is_counted_and_what_is_served_stays(
    tmp_path: Path, change: Callable[[Path], None], text: str, caplog: pytest.LogCaptureFixture
) -> None:
    write_version(prices_export(1), tmp_path)
    with running(models=tmp_path) as service:
        change(tmp_path / "prices")
        service.watcher.scan()

        assert predict(service)[0] == 200
    assert any(text in str(getattr(record, "error", "")) for record in caplog.records)


@pytest.mark.parametrize("name", ["golden.safetensors", "model.onnx", "spec.json"])
def test_a_spoiled_file_of_a_version_is_not_served(tmp_path: Path, name: str) -> None:
    write_version(prices_export(1), tmp_path)
    file = tmp_path / "prices" / "1" / name
    file.write_bytes(file.read_bytes()[:-1])

    with running(models=tmp_path) as service:
        assert predict(service)[0] == 503


def test_a_missing_golden_file_is_not_served(tmp_path: Path) -> None:
    write_version(prices_export(1), tmp_path)
    (tmp_path / "prices" / "1" / "golden.safetensors").unlink()

    with running(models=tmp_path) as service:
        assert predict(service)[0] == 503


@pytest.mark.parametrize("late", ["export.json", "spec.json"])
def test_a_version_that_is_half_copied_is_not_served_before_it_is_verified(
    tmp_path: Path, late: str
) -> None:
    write_version(prices_export(1), tmp_path)
    file = tmp_path / "prices" / "1" / late
    held_back = file.read_bytes()
    file.unlink()

    with running(models=tmp_path) as service:
        early = predict(service)[0]
        file.write_bytes(held_back)
        service.watcher.scan()
        served = service.catalogue.find("prices")

        assert (early, predict(service)[0]) == (503, 200)
    assert served.spec is not None


def test_a_version_with_another_spec_is_another_version(tmp_path: Path) -> None:
    write_version(prices_export(1), tmp_path)
    with running(models=tmp_path) as service:
        spoil("1/spec.json", b"{}")(tmp_path / "prices")
        service.watcher.scan()
        failure = service.catalogue.resolve("prices").failure

        assert "spec.json" in failure
        assert predict(service)[0] == 200


def test_on_demand_a_model_is_loaded_by_its_first_request(tmp_path: Path) -> None:
    with running(
        models=sample_folder(tmp_path), load_on_demand=True, pinned_models="shapes"
    ) as service:
        service.watcher.scan()
        before = [slot.wanted.model for slot in service.catalogue.slots() if slot.served]
        first, second = predict(service), predict(service)
        lines = service.ask("GET", "/metrics").body.decode()

    assert before == ["shapes", "shapes"]
    assert first == second == (200, "2")
    assert 'rondo_inference_models_total{event="miss",model="prices"} 1.0' in lines
    assert 'rondo_inference_models_total{event="load",model="prices"} 1.0' in lines


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


def test_a_label_that_looks_like_a_version_is_that_version(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = sample_folder(tmp_path)
    (folder / "prices" / "labels.json").write_text('{"v2": 1}')
    with running(models=folder) as service:
        assert predict(service)[0] == 404
    (told,) = [record for record in caplog.records if record.message == "cannot be read"]
    assert (told.model, told.error) == (  # type: ignore[attr-defined]
        "prices",
        "labels.json: 'v2' is version 1, and names another",
    )


def test_a_folder_whose_name_no_path_can_have_is_no_model(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_onnx(tmp_path, "a:predict", prices_export().files["model.onnx"])
    with running(models=tmp_path) as service:
        assert service.catalogue.names() == []
    (told,) = [record for record in caplog.records if record.message == "cannot be read"]
    assert told.error == "the name of a model has no colon"  # type: ignore[attr-defined]


def test_a_version_that_goes_is_told_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = sample_folder(tmp_path)
    caplog.set_level("INFO")
    with running(models=folder) as service:
        (folder / "prices" / "2").rename(tmp_path / ".gone")
        service.watcher.scan()

        assert predict(service) == (200, "1")
    told = [(one.model, one.label) for one in caplog.records if one.message == "label gone"]  # type: ignore[attr-defined]
    assert told == [("prices", "v2")]


def test_no_error_tells_where_the_folder_is(tmp_path: Path) -> None:
    write_version(prices_export(1), tmp_path)
    (tmp_path / "prices" / "1" / "export.json").unlink()
    with running(models=tmp_path) as service:
        body = service.ask("POST", "/v1/models/prices:predict", ROW).json

    assert body == {
        "error": "version 1 of model 'prices' is not served: "
        "export.json does not exist, though spec.json does: they go together"
    }


def test_a_folder_that_is_gone_leaves_what_is_served(tmp_path: Path) -> None:
    folder = sample_folder(tmp_path / "models")
    with running(models=folder) as service:
        folder.rename(tmp_path / "elsewhere")
        with pytest.raises(Unavailable):
            service.watcher.scan()

        assert predict(service) == (200, "2")


def test_a_model_that_is_gone_is_not_found_when_it_is_to_be_loaded(tmp_path: Path) -> None:
    folder = sample_folder(tmp_path / "models")
    with running(models=folder, load_on_demand=True) as service:
        (folder / "prices").rename(tmp_path / "elsewhere")

        assert predict(service)[0] == 503
        service.watcher.scan()
        assert predict(service)[0] == 404


# --- traffic --------------------------------------------------------------------------------------


def test_traffic_is_split_by_weight_and_the_same_request_goes_the_same_way(
    tmp_path: Path,
) -> None:
    folder = sample_folder(tmp_path)
    (folder / "prices" / "traffic.json").write_text('{"weights": {"champion": 3, "candidate": 1}}')
    with running(models=folder) as service:
        seen: list[str] = []
        for number in range(200):
            replies = [
                service.ask("POST", "/v1/models/prices:predict", ROW, x_request_id=str(number))
                for _ in range(2)
            ]
            versions = {reply.headers["x-rondo-version"] for reply in replies}
            assert len(versions) == 1
            seen += versions
        without_id = {predict(service)[1] for _ in range(60)}
        named = predict(service, "prices/labels/champion")

    assert 30 <= seen.count("1") <= 70
    assert without_id == {"1", "2"}
    assert named == (200, "2")


@pytest.mark.parametrize("weights", ['{"champion": 1, "gone": 1}', '{"gone": 1}'])
def test_a_share_of_a_label_that_is_not_there_goes_to_the_champion(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, weights: str
) -> None:
    folder = sample_folder(tmp_path)
    (folder / "prices" / "traffic.json").write_text(f'{{"weights": {weights}}}')

    with running(models=folder) as service:
        service.watcher.scan()

        assert {predict(service) for _ in range(20)} == {(200, "2")}
        assert predict(service, "prices/labels/gone")[0] == 404
        assert service.catalogue.complete
    told = [record.error for record in caplog.records if record.message == "cannot be read"]  # type: ignore[attr-defined]
    assert told == ["traffic.json: no label gone; the champion answers in its place"]
    assert not any(hasattr(record, "label") for record in caplog.records
                   if record.message == "cannot be read")  # fmt: skip


@pytest.mark.parametrize("on_demand", [False, True])
def test_a_share_of_a_version_that_cannot_be_loaded_goes_to_the_champion(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, *, on_demand: bool
) -> None:
    folder = sample_folder(tmp_path)
    (folder / "prices" / "traffic.json").write_text('{"weights": {"champion": 5, "candidate": 5}}')
    file = folder / "prices" / "1" / "model.onnx"
    whole = file.read_bytes()
    file.write_bytes(whole[:100])

    with running(models=folder, load_on_demand=on_demand) as service:
        answers = [predict(service) for _ in range(20)]
        named = [predict(service, f"prices/{one}")[0] for one in ("labels/candidate", "versions/1")]
        fallen = service.app.inference.book.events["fallback", "prices"]
        said = [one for one in caplog.messages if one == "champion answers for another label"]
        file.write_bytes(whole)
        service.clock.advance(1)
        service.watcher.scan()
        again = {predict(service) for _ in range(20)}

    assert answers == [(200, "2")] * 20
    assert named == [503, 503]
    assert (0 < fallen < 20, len(said)) == (True, 1)
    assert again == {(200, "1"), (200, "2")}


def test_a_version_on_demand_that_failed_is_not_loaded_again_for_a_share(tmp_path: Path) -> None:
    folder = sample_folder(tmp_path)
    (folder / "prices" / "traffic.json").write_text('{"weights": {"candidate": 1}}')
    (folder / "prices" / "1" / "model.onnx").write_bytes(b"junk")

    with running(models=folder, load_on_demand=True) as service:
        for _ in range(5):
            predict(service)
        misses = service.app.inference.book.events["miss", "prices"]

    assert misses == 2  # the candidate once, and the champion


@pytest.mark.parametrize(
    ("shadow", "copies"), [("candidate", 3), ("champion", 0), ("gone", 0), ("shapes", 0)]
)
def test_a_shadow_gets_a_copy_and_answers_nobody(tmp_path: Path, shadow: str, copies: int) -> None:
    folder = sample_folder(tmp_path)
    (folder / "prices" / "traffic.json").write_text(
        f'{{"weights": {{"champion": 1}}, "shadow": "{shadow}"}}'
    )
    with running(models=folder) as service:

        async def ask() -> None:
            for _ in range(3):
                reply = await service.call(
                    "POST", "/v1/models/prices:predict", chunks=[b'{"instances": [[3, "Bonn"]]}']
                )
                assert reply is not None
                assert reply.headers["x-rondo-version"] == "2"
                await asyncio.sleep(0.01)

        asyncio.run(ask())
        found = service.app.inference.book.of("prices", 1).shadowed

    assert found == copies


def test_not_found_is_told_for_a_model_without_a_slot() -> None:
    with pytest.raises(NotFound):
        Catalogue().resolve("cats")
