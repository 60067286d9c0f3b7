import logging
import threading
from dataclasses import dataclass, field

import numpy as np
import pytest

from rondo_core.errors import Unavailable
from rondo_core.exports import ONNX_FILE, export_file_key
from rondo_core.keys import alias_key
from rondo_core.model_rows import AliasRow
from rondo_core.run_store import Delete, Item, Put
from rondo_core.telemetry import Metrics
from rondo_core.testing import ManualClock, MemoryModelStore, MemoryRunStore
from rondo_inference.registry.aliases import StoreAliases
from rondo_inference.registry.catalogue import Catalogue
from rondo_inference.registry.loader import load_version
from rondo_inference.registry.memory import Memory
from rondo_inference.registry.served import ServedModel
from rondo_inference.registry.watcher import Watcher, watch
from rondo_inference.stats import StatsBook
from tests.unit.rondo_inference.exported import Export, prices_export, prices_onnx, shapes_export
from tests.unit.rondo_inference.fakes import batcher_of, onnx_alone


class ForgetfulRows(MemoryRunStore):
    """A table whose index can lag, and which can be away."""

    def __init__(self) -> None:
        super().__init__()
        self.lagging: list[Item] | None = None
        self.away = False

    def active(self, kind: str) -> list[Item]:
        if self.away:
            raise Unavailable("table")
        return super().active(kind) if self.lagging is None else self.lagging


class FlakyStore(MemoryModelStore):
    """A bucket that can be away."""

    def __init__(self) -> None:
        super().__init__()
        self.away = False

    def get(
        self, key: str, *, start: int = 0, stop: int | None = None, version: str | None = None
    ) -> bytes:
        if self.away:
            raise Unavailable(key)
        return super().get(key, start=start, stop=stop, version=version)


@dataclass
class Replica:
    """An inference process without its HTTP side."""

    rows: ForgetfulRows = field(default_factory=ForgetfulRows)
    store: FlakyStore = field(default_factory=FlakyStore)
    catalogue: Catalogue = field(default_factory=Catalogue)
    clock: ManualClock = field(default_factory=ManualClock)
    metrics: Metrics = field(default_factory=Metrics)
    loads: list[AliasRow] = field(default_factory=list)
    tidied: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        memory = Memory(self.catalogue, self.load, StatsBook())
        self.watcher = Watcher(
            aliases=StoreAliases(self.rows),
            catalogue=self.catalogue,
            bring=memory.bring,
            retire=memory.retire,
            tidy=lambda: self.tidied.append(len(self.loads)),
            clock=self.clock,
            metrics=self.metrics,
        )

    def load(self, alias: AliasRow) -> ServedModel:
        self.loads.append(alias)
        return load_version(
            alias,
            store=self.store,
            engines=onnx_alone(),
            open_batcher=lambda _alias, engine, _seconds: batcher_of(engine),
        )

    def promote(self, export: Export) -> None:
        export.store(self.store)
        export.promote(self.rows)

    def scan(self) -> None:
        self.watcher.scan()

    def total(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(name, {"outcome": "ok", **labels})


def version(replica: Replica, model: str = "prices") -> int:
    return replica.catalogue.find(model).version


def test_the_champion_of_every_model_is_loaded() -> None:
    replica = Replica()
    replica.promote(prices_export(1))
    replica.promote(shapes_export(4))

    replica.scan()

    assert (version(replica), version(replica, "shapes")) == (1, 4)
    assert replica.catalogue.ready
    assert replica.total("rondo_swaps_total", kind="prices") == 1
    gauge = replica.metrics.registry.get_sample_value("rondo_served_version", {"kind": "shapes"})
    assert gauge == 4


def test_the_served_version_is_that_of_the_champion_whatever_other_labels_there_are() -> None:
    replica = Replica()
    for export in (prices_export(1), prices_export(2, label="stable")):
        replica.promote(export)

    replica.scan()

    gauge = replica.metrics.registry.get_sample_value("rondo_served_version", {"kind": "prices"})
    assert (gauge, replica.catalogue.find("prices", label="stable").version) == (1, 2)


def test_a_promotion_is_followed_and_whoever_holds_the_old_version_keeps_it() -> None:
    replica = Replica()
    replica.promote(prices_export(1))
    replica.scan()
    held = replica.catalogue.find("prices")

    replica.promote(prices_export(2))
    replica.scan()

    assert version(replica) == 2
    assert held.version == 1
    assert held.engine.run((np.zeros((1, 2), np.float32),))[0].tolist() == [[1]]


def test_memory_goes_back_once_a_scan_after_a_swap_when_requests_no_longer_hold_it() -> None:
    replica = Replica()
    replica.promote(prices_export(1))
    replica.scan()
    replica.scan()
    first = list(replica.tidied)

    replica.promote(prices_export(2))
    replica.scan()
    at_the_swap = list(replica.tidied)
    replica.scan()
    replica.scan()

    assert (first, at_the_swap, replica.tidied) == ([], [], [2])


def test_an_alias_that_did_not_change_is_loaded_once() -> None:
    replica = Replica()
    replica.promote(prices_export(1))

    replica.scan()
    replica.scan()

    assert len(replica.loads) == 1


def test_a_row_that_the_index_no_longer_lists_is_still_served() -> None:
    replica = Replica()
    replica.promote(prices_export(1))
    replica.scan()

    replica.rows.lagging = []
    replica.promote(prices_export(2))
    replica.scan()

    assert version(replica) == 2


def test_a_stale_index_does_not_bring_an_old_version_back() -> None:
    replica = Replica()
    replica.promote(prices_export(1))
    replica.rows.lagging = replica.rows.active("alias")
    replica.promote(prices_export(2))

    replica.scan()

    assert version(replica) == 2
    assert [alias.model_version for alias in replica.loads] == [2]


def test_an_alias_that_was_deleted_is_no_longer_served() -> None:
    replica = Replica()
    replica.promote(prices_export(1))
    replica.scan()
    replica.rows.lagging = replica.rows.active("alias")

    replica.rows.commit(Delete(alias_key("prices")))
    replica.scan()

    assert replica.catalogue.slots() == []


def test_an_alias_that_was_deleted_before_it_was_ever_read_is_nothing() -> None:
    replica = Replica()
    replica.promote(prices_export(1))
    replica.rows.lagging = replica.rows.active("alias")
    replica.rows.commit(Delete(alias_key("prices")))

    replica.scan()

    assert replica.catalogue.slots() == []


def test_a_corrupt_export_leaves_the_old_version_serving(
    caplog: pytest.LogCaptureFixture,
) -> None:
    replica = Replica()
    replica.promote(prices_export(1))
    replica.scan()

    replica.promote(prices_export(2).with_file(ONNX_FILE, prices_onnx(3)))
    replica.scan()

    assert version(replica) == 1
    (slot,) = replica.catalogue.slots()
    assert "away from the golden one" in slot.failure
    assert (replica.catalogue.ready, replica.catalogue.complete) == (True, True)
    assert replica.total("rondo_load_failures_total", kind="prices", outcome="error") == 1
    (record,) = [one for one in caplog.records if one.message == "load failed"]
    assert (record.model, record.version, record.failures) == ("prices", 2, 1)  # type: ignore[attr-defined]


def test_a_missing_object_is_tried_again_with_growing_pauses() -> None:
    replica = Replica()
    export = prices_export(1)
    data = export.files.pop(ONNX_FILE)
    replica.promote(export)

    tried_at = []
    for _ in range(70):
        before = len(replica.loads)
        replica.scan()
        if len(replica.loads) > before:
            tried_at.append(replica.clock.monotonic())
        replica.clock.advance(1)
    replica.store.put(export_file_key(export.index, ONNX_FILE), data)
    replica.clock.advance(60)
    replica.scan()

    assert tried_at == [0, 1, 3, 7, 15, 31, 63]
    assert version(replica) == 1


def test_a_new_promotion_does_not_wait_for_the_retry_of_a_bad_one() -> None:
    replica = Replica()
    replica.promote(prices_export(1).with_file(ONNX_FILE, b"not a model"))
    replica.scan()

    replica.promote(prices_export(2))
    replica.scan()

    assert version(replica) == 2
    assert not replica.catalogue.slots()[0].failure


def test_after_a_good_load_the_pauses_start_anew() -> None:
    replica = Replica()
    replica.store.away = True
    replica.promote(prices_export(1))
    for _ in range(3):
        replica.scan()
        replica.clock.advance(2)
    replica.store.away = False
    replica.clock.advance(60)
    replica.scan()
    replica.store.away = True
    replica.promote(prices_export(2))

    replica.loads.clear()
    replica.scan()
    replica.clock.advance(1)
    replica.scan()

    assert [alias.model_version for alias in replica.loads] == [2, 2]


def test_readiness_waits_for_a_store_that_is_away_and_for_a_bad_champion() -> None:
    replica = Replica()
    replica.promote(prices_export(1).with_file(ONNX_FILE, b"not a model"))
    replica.promote(shapes_export(1))
    replica.store.away = True
    replica.scan()
    away = replica.catalogue.lacking()

    replica.store.away = False
    replica.clock.advance(1)
    replica.scan()
    corrupt = (replica.catalogue.ready, replica.catalogue.lacking())
    replica.promote(prices_export(2))
    replica.scan()

    assert away == ["model 'prices' cannot be loaded", "model 'shapes' cannot be loaded"]
    assert corrupt == (False, ["model 'prices' cannot be loaded"])
    assert (replica.catalogue.ready, replica.catalogue.complete) == (True, True)


def test_a_replica_is_ready_before_any_model_was_promoted_and_stays_so_with_a_bad_one() -> None:
    replica = Replica()
    replica.scan()
    empty = (replica.catalogue.ready, replica.catalogue.complete)

    replica.promote(prices_export(1).with_file(ONNX_FILE, b"not a model"))
    replica.scan()

    assert empty == (True, True)
    assert (replica.catalogue.ready, replica.catalogue.complete) == (True, False)


def test_an_unloaded_model_is_not_loaded_by_a_promotion() -> None:
    replica = Replica()
    replica.promote(prices_export(1))
    replica.scan()

    replica.catalogue.unload("prices")
    replica.promote(prices_export(2))
    replica.scan()
    replica.scan()
    unloaded = [slot.served for slot in replica.catalogue.slots()]
    replica.catalogue.release("prices")
    replica.scan()

    assert unloaded == [None]
    assert version(replica) == 2


def test_one_bad_row_does_not_stop_the_other_models(caplog: pytest.LogCaptureFixture) -> None:
    replica = Replica()
    replica.rows.commit(Put(alias_key("a-first"), {"active": "alias", "model": "a-first"}))
    replica.promote(prices_export(1))

    replica.scan()
    replica.scan()

    assert version(replica) == 1
    (told,) = [record for record in caplog.records if record.message == "cannot be read"]
    assert (told.model, told.label) == ("a-first", "champion")  # type: ignore[attr-defined]
    assert replica.total("rondo_load_failures_total", kind="a-first", outcome="error") == 1
    assert replica.catalogue.lacking() == ["model 'a-first' cannot be read"]


def test_what_cannot_be_read_is_told_again_when_it_changes(
    caplog: pytest.LogCaptureFixture,
) -> None:
    replica = Replica()
    rows: list[Item] = [{"model": "a"}, {"model": "a"}, {"model": 7}]
    for row in rows:
        replica.rows.commit(Put(alias_key("a"), {"active": "alias", **row}))
        replica.scan()

    assert caplog.messages == ["cannot be read", "cannot be read"]


class BrokenLoad:
    """Fails for one model as a program fails, not as an export does."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica

    def __call__(self, alias: AliasRow) -> ServedModel:
        if alias.model == "prices":
            raise MemoryError("no room")
        return self._replica.load(alias)


def test_a_load_that_breaks_does_not_stop_the_other_models(
    caplog: pytest.LogCaptureFixture,
) -> None:
    replica = Replica()
    replica.promote(prices_export(1))
    replica.promote(shapes_export(1))
    memory = Memory(replica.catalogue, BrokenLoad(replica), StatsBook())
    watcher = Watcher(
        aliases=StoreAliases(replica.rows),
        catalogue=replica.catalogue,
        bring=memory.bring,
        retire=memory.retire,
        tidy=lambda: None,
        clock=replica.clock,
        metrics=replica.metrics,
    )

    watcher.scan()

    assert version(replica, "shapes") == 1
    with pytest.raises(Unavailable, match="no room"):
        replica.catalogue.find("prices")
    assert any(record.exc_info for record in caplog.records)


class StopAfter(threading.Event):
    """Is set after so many waits, and waits no time."""

    def __init__(self, waits: int) -> None:
        super().__init__()
        self.waits = waits
        self.seconds: list[float | None] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.seconds.append(timeout)
        if len(self.seconds) == self.waits:
            self.set()
        return self.is_set()


def test_a_watcher_goes_on_when_the_table_was_away() -> None:
    replica, stop = Replica(), StopAfter(2)
    replica.promote(prices_export(1))
    replica.rows.away = True

    class Back(StopAfter):
        def wait(self, timeout: float | None = None) -> bool:
            replica.rows.away = False
            return super().wait(timeout)

    stop = Back(2)
    watch(replica.watcher, stop=stop, seconds=1.5, metrics=replica.metrics)

    assert version(replica) == 1
    assert stop.seconds == [1.5, 1.5]
    assert replica.total("rondo_loop_failures_total", kind="watcher", outcome="retry") == 1


def test_a_table_that_stays_away_is_told_of_once_and_counted_each_time(
    caplog: pytest.LogCaptureFixture,
) -> None:
    replica = Replica()
    replica.rows.away = True

    watch(replica.watcher, stop=StopAfter(3), seconds=1, metrics=replica.metrics)

    assert caplog.messages == ["scan failed"]
    assert replica.total("rondo_loop_failures_total", kind="watcher", outcome="retry") == 3


def test_a_watcher_goes_on_when_a_scan_broke(caplog: pytest.LogCaptureFixture) -> None:
    replica = Replica()
    replica.rows.lagging = [{"model": "an item without a key"}]

    watch(replica.watcher, stop=StopAfter(2), seconds=1, metrics=replica.metrics)

    assert replica.total("rondo_loop_failures_total", kind="watcher", outcome="error") == 2
    assert any(record.levelno == logging.ERROR for record in caplog.records)
