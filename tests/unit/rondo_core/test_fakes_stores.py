"""What the fakes do beyond their ports; the ports themselves are held to the contract suites."""

import hashlib
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from rondo_core import model_store
from rondo_core.errors import Invalid, NotFound
from rondo_core.model_store import AlreadyExists
from rondo_core.run_store import (
    Absent,
    Change,
    CommitConflict,
    Delete,
    Equals,
    Key,
    Present,
    Put,
    Update,
)
from rondo_core.testing import (
    ManualClock,
    MemoryModelStore,
    MemoryRunStore,
    MemoryUploadLinks,
)


def test_manual_clock_moves_only_when_told() -> None:
    clock = ManualClock(datetime(2026, 5, 1, tzinfo=UTC))
    assert clock.now() == clock.now()

    clock.advance(90)
    clock.sleep(30)

    assert clock.now() == datetime(2026, 5, 1, 0, 2, tzinfo=UTC)
    assert clock.monotonic() == 120


def test_manual_clock_does_not_go_back() -> None:
    clock = ManualClock()

    with pytest.raises(ValueError, match="-1"):
        clock.advance(-1)

    assert clock.monotonic() == 0


def test_sum_that_outgrows_the_numbers_is_invalid() -> None:
    store, key = MemoryRunStore(), Key("a", "b")
    store.commit(Put(key, {"n": 9e125}))

    with pytest.raises(Invalid):
        store.commit(Update(key, add={"n": 9e125}))

    assert store.get(key) == {"PK": "a", "SK": "b", "n": int(9e125)}


@pytest.mark.parametrize("field", ["flag", "word", "tokens"])
def test_number_is_added_to_numbers_only(field: str) -> None:
    store, key = MemoryRunStore(), Key("a", "b")
    store.commit(Put(key, {"flag": True, "word": "x", "tokens": frozenset({"t"})}))

    with pytest.raises(Invalid):
        store.commit(Update(key, add={field: 1}))


def test_strings_are_added_to_sets_only() -> None:
    store, key = MemoryRunStore(), Key("a", "b")
    store.commit(Put(key, {"n": 1}))

    with pytest.raises(Invalid):
        store.commit(Update(key, add={"n": frozenset({"t"})}))


def test_objects_are_named_by_what_they_are() -> None:
    assert model_store.update_key("r", 3, 1, "c", "f00") == "updates/r/000003/01/c/f00"
    assert model_store.weights_key("f00") == "versions/f00"
    assert model_store.manifest_key("f00") == "manifests/f00"
    assert model_store.partial_key("f00", 0, 5) == "partials/f00/000000000000-000000000005"
    assert model_store.spec_key("f00") == "specs/f00"
    assert model_store.holdout_key("f00") == "holdouts/f00"
    assert model_store.export_key("f00", "model.onnx") == "exports/f00/model.onnx"


PUT_URL_OF = "http://store.test/models/"


@pytest.fixture
def store() -> MemoryModelStore:
    return MemoryModelStore()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def links(store: MemoryModelStore, clock: ManualClock) -> MemoryUploadLinks:
    return MemoryUploadLinks(store, clock)


SHA256 = hashlib.sha256(b"data").hexdigest()


def test_link_is_good_until_it_expires(links: MemoryUploadLinks, clock: ManualClock) -> None:
    link = links.for_upload("key", size=4, sha256=SHA256, expires_seconds=60)

    clock.advance(60)
    assert links.put(link.url, link.headers, b"data") == 200
    clock.advance(timedelta(seconds=1).total_seconds())

    assert links.put(link.url, link.headers, b"data") == 403


def test_link_that_was_tampered_with_is_refused(
    links: MemoryUploadLinks, store: MemoryModelStore
) -> None:
    link = links.for_upload("key", size=4, sha256=SHA256, expires_seconds=60)

    for url in (
        link.url.replace("size=4", "size=5"),
        link.url.replace("until=", "until=9"),
        link.url.replace(SHA256, "00" * 32),
        PUT_URL_OF + "key",
        "http://elsewhere.test/key",
    ):
        assert links.put(url, link.headers, b"data") == 403

    assert store.head("key") is None


def test_header_names_are_taken_in_any_case(links: MemoryUploadLinks) -> None:
    link = links.for_upload("key", size=4, sha256=SHA256, expires_seconds=60)

    assert links.put(link.url, {n.upper(): v for n, v in link.headers.items()}, b"data") == 200


class ObjectsAgainstAModel(RuleBasedStateMachine):
    """Create-once, whatever the order of puts."""

    def __init__(self) -> None:
        super().__init__()
        self.store = MemoryModelStore()
        self.model: dict[str, bytes] = {}

    @rule(key=st.sampled_from("abc"), data=st.binary(max_size=3))
    def put(self, key: str, data: bytes) -> None:
        try:
            self.store.put(key, data)
        except AlreadyExists:
            assert self.model[key] != data
        else:
            assert self.model.setdefault(key, data) == data

    @rule(key=st.sampled_from("abc"), start=st.integers(0, 4), stop=st.integers(0, 4))
    def get(self, key: str, start: int, stop: int) -> None:
        try:
            data = self.store.get(key, start=start, stop=stop)
        except NotFound:
            assert key not in self.model
        else:
            assert data == self.model[key][start:stop]


class RowsAgainstAModel(RuleBasedStateMachine):
    """Commits are all or nothing, whatever their conditions."""

    keys = st.sampled_from([Key("p", "a"), Key("p", "b"), Key("q", "a")])
    conditions = st.sampled_from([(), (Absent(),), (Present(),), (Equals("n", 1),)])
    changes = st.builds(Put, keys, st.fixed_dictionaries({"n": st.integers(0, 2)}), conditions) | (
        st.builds(Delete, keys, conditions)
    )

    def __init__(self) -> None:
        super().__init__()
        self.store = MemoryRunStore()
        self.model: dict[Key, int] = {}

    @rule(changes=st.lists(changes, max_size=3, unique_by=lambda change: change.key))
    def commit(self, changes: list[Change]) -> None:
        failed = tuple(change.key for change in changes if not self._holds(change))
        try:
            self.store.commit(*changes)
        except CommitConflict as exc:
            assert exc.keys == failed  # noqa: PT017 - a rule, not a test
            return
        assert failed == ()
        for change in changes:
            if isinstance(change, Put):
                self.model[change.key] = int(str(change.item["n"]))
            else:
                self.model.pop(change.key, None)

    @invariant()
    def same(self) -> None:
        for pk in "pq":
            rows = [(item["SK"], item["n"]) for item in self.store.query(pk)]
            assert rows == sorted((key.sk, n) for key, n in self.model.items() if key.pk == pk)

    def _holds(self, change: Change) -> bool:
        there = change.key in self.model
        facts = {
            Absent(): not there,
            Present(): there,
            Equals("n", 1): self.model.get(change.key) == 1,
        }
        return all(facts[condition] for condition in change.when)


QUICK = settings(max_examples=25, stateful_step_count=15)
TestObjectsAgainstAModel = ObjectsAgainstAModel.TestCase
TestObjectsAgainstAModel.settings = QUICK
TestRowsAgainstAModel = RowsAgainstAModel.TestCase
TestRowsAgainstAModel.settings = QUICK
