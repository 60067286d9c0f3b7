"""Local files of what the store holds: fetched once, bounded, and never another content."""

import hashlib
import os
from pathlib import Path

import pytest

from rondo_aggregator.adapters import file_objects
from rondo_aggregator.adapters.file_objects import FileCache, FileObjects
from rondo_core.errors import NotFound, Unavailable
from rondo_core.model_store import AlreadyExists
from tests.unit.rondo_aggregator.round_rows import CountingModelStore

DATA = bytes(range(100))


@pytest.fixture
def models() -> CountingModelStore:
    store = CountingModelStore()
    store.put("a", DATA)
    return store


@pytest.fixture
def objects(models: CountingModelStore, tmp_path: Path) -> FileObjects:
    return FileObjects(models, FileCache(tmp_path, max_bytes=1_000))


def test_a_whole_object_is_fetched_once(objects: FileObjects, models: CountingModelStore) -> None:
    first, again = objects.whole("a", size=100), objects.whole("a", size=100)

    assert bytes(first) == bytes(again) == DATA
    assert models.reads == ["a"]


def test_a_part_of_an_object_that_is_at_hand_is_not_fetched(
    objects: FileObjects, models: CountingModelStore
) -> None:
    objects.whole("a", size=100)

    assert bytes(objects.part("a", 10, 20)) == DATA[10:20]
    assert models.reads == ["a"]


def test_a_part_is_fetched_alone_and_once(objects: FileObjects, models: CountingModelStore) -> None:
    parts = [bytes(objects.part("a", start, start + 5)) for start in (0, 5, 0)]

    assert parts == [DATA[:5], DATA[5:10], DATA[:5]]
    assert models.reads == ["a", "a"]


def test_a_part_past_the_end_ends_there(objects: FileObjects) -> None:
    assert bytes(objects.part("a", 90, 500)) == DATA[90:]


def test_an_empty_part_is_empty(objects: FileObjects) -> None:
    assert bytes(objects.part("a", 5, 5)) == b""
    assert bytes(objects.part("a", 5, 5)) == b""


def test_views_are_read_only(objects: FileObjects) -> None:
    view = objects.whole("a", size=100)

    with pytest.raises(TypeError):
        view[0] = 1


def test_two_versions_of_a_key_are_two_objects(
    objects: FileObjects, models: CountingModelStore
) -> None:
    info = models.head("a")
    assert info is not None

    assert bytes(objects.whole("a", size=100, version=info.version)) == DATA
    with pytest.raises(NotFound):
        objects.whole("a", size=100, version="other")


def test_a_large_object_is_fetched_in_blocks(
    objects: FileObjects, models: CountingModelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_objects, "_BLOCK_BYTES", 30)

    assert bytes(objects.whole("a", size=100)) == DATA
    assert models.reads == ["a"] * 4


def test_an_object_that_is_shorter_than_it_should_be_is_returned_as_it_is(
    objects: FileObjects, models: CountingModelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_objects, "_BLOCK_BYTES", 30)

    assert bytes(objects.whole("a", size=1_000)) == DATA
    assert models.reads == ["a"] * 4


def test_bytes_that_are_not_those_of_the_digest_are_not_kept(
    objects: FileObjects, models: CountingModelStore, tmp_path: Path
) -> None:
    with pytest.raises(Unavailable, match="the bytes that came have the digest"):
        objects.whole("a", size=100, sha256="0" * 64)

    assert list(tmp_path.iterdir()) == []
    good = hashlib.sha256(DATA).hexdigest()
    assert bytes(objects.whole("a", size=100, sha256=good)) == DATA
    assert models.reads == ["a", "a"]


def test_what_is_written_is_at_hand(objects: FileObjects, models: CountingModelStore) -> None:
    objects.put("b", b"new")

    assert bytes(objects.whole("b", size=3)) == b"new"
    assert models.reads == []
    assert models.get("b") == b"new"


def test_what_the_store_refuses_is_not_at_hand(objects: FileObjects) -> None:
    with pytest.raises(AlreadyExists):
        objects.put("a", b"other")

    assert bytes(objects.whole("a", size=100)) == DATA


def test_an_object_that_does_not_exist_leaves_no_file(objects: FileObjects, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        objects.whole("nothing", size=3)

    assert list(tmp_path.iterdir()) == []


def test_a_full_cache_drops_what_was_not_read_for_longest(tmp_path: Path) -> None:
    cache = FileCache(tmp_path, max_bytes=250)
    for age, name in enumerate(("old", "older", "oldest")):
        cache.put(name, [b"x" * 80])
        at = 1_000 - age
        os.utime(tmp_path / hashlib.sha256(name.encode()).hexdigest(), (at, at))

    cache.get("oldest")
    cache.put("new", [b"x" * 80])

    held = {name for name in ("old", "older", "oldest", "new") if cache.get(name) is not None}
    assert held == {"old", "oldest", "new"}


def test_a_view_of_what_was_dropped_stays_valid(tmp_path: Path) -> None:
    cache = FileCache(tmp_path, max_bytes=100)
    view = cache.put("first", [b"x" * 80])

    cache.put("second", [b"y" * 80])

    assert cache.get("first") is None
    assert bytes(view) == b"x" * 80


def test_a_file_larger_than_the_cache_is_kept_until_the_next(tmp_path: Path) -> None:
    cache = FileCache(tmp_path, max_bytes=10)

    cache.put("large", [b"x" * 80])

    assert cache.get("large") is not None


def test_a_file_that_another_process_is_writing_is_left_alone(tmp_path: Path) -> None:
    cache = FileCache(tmp_path, max_bytes=10)
    (tmp_path / "new-elsewhere").write_bytes(b"x" * 80)

    cache.put("a", [b"x"])

    assert (tmp_path / "new-elsewhere").exists()


def test_two_processes_share_the_files(tmp_path: Path) -> None:
    FileCache(tmp_path, max_bytes=100).put("a", [b"shared"])

    view = FileCache(tmp_path, max_bytes=100).get("a")

    assert view is not None
    assert bytes(view) == b"shared"
