"""The suite that every ``ModelStore`` passes."""

import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from rondo_core.errors import NotFound
from rondo_core.model_store import MIN_PART_BYTES, AlreadyExists, ModelStore
from tests.contract.harness import Harness

WRITERS = 8
DATA = bytes(range(256)) * 4
SHA256 = hashlib.sha256(DATA).hexdigest()
MIB = 1024 * 1024


@pytest.fixture(scope="module")
def store(ports: Harness) -> ModelStore:
    return ports.model_store


@pytest.fixture
def key(name: str) -> str:
    return f"{name}/object"


def test_put_tells_size_digest_and_version(store: ModelStore, key: str) -> None:
    info = store.put(key, DATA)

    assert (info.size, info.sha256) == (1024, SHA256)
    assert store.head(key) == info
    assert store.get(key, version=info.version) == DATA


def test_get_of_a_range_of_a_version_gives_that_range(store: ModelStore, name: str) -> None:
    info = store.put(f"{name}/a", DATA)

    assert store.get(f"{name}/a", start=2, stop=5, version=info.version) == DATA[2:5]
    assert store.get(f"{name}/a", start=2, version=info.version) == DATA[2:]


def test_put_of_a_view_copies_it(store: ModelStore, key: str) -> None:
    mine = bytearray(b"abc")

    store.put(key, memoryview(mine))
    mine[0] = 0

    assert store.get(key) == b"abc"


def test_empty_object_is_an_object(store: ModelStore, key: str) -> None:
    info = store.put(key, b"")

    assert (info.size, store.get(key), store.head(key)) == (0, b"", info)


def test_keys_may_hold_any_path(store: ModelStore, name: str) -> None:
    key = f"{name}/a b/ü+%2F&?.json"

    store.put(key, DATA)

    assert store.get(key) == DATA


def test_put_of_the_same_bytes_again_is_a_success(store: ModelStore, key: str) -> None:
    first = store.put(key, DATA)

    assert store.put(key, DATA) == first


def test_put_of_other_bytes_is_refused_and_changes_nothing(store: ModelStore, key: str) -> None:
    first = store.put(key, DATA)

    for other in (b"other", DATA[::-1]):
        with pytest.raises(AlreadyExists) as caught:
            store.put(key, other)
        assert (caught.value.key, caught.value.same) == (key, False)

    assert (store.get(key), store.head(key)) == (DATA, first)


@pytest.mark.parametrize(
    ("start", "stop", "expected"),
    [
        (0, None, DATA),
        (0, 1, DATA[:1]),
        (100, 200, DATA[100:200]),
        (1000, None, DATA[1000:]),
        (1000, 5000, DATA[1000:]),
        (1023, 1024, DATA[1023:]),
        (1024, 2048, b""),
        (5000, None, b""),
        (7, 7, b""),
        (0, 0, b""),
    ],
)
def test_get_gives_the_range_as_a_slice_would(
    store: ModelStore, key: str, start: int, stop: int | None, expected: bytes
) -> None:
    store.put(key, DATA)

    assert store.get(key, start=start, stop=stop) == expected


def test_what_is_not_there_is_not_found(store: ModelStore, key: str) -> None:
    assert store.head(key) is None
    for start, stop in ((0, None), (0, 10), (3, 3)):
        with pytest.raises(NotFound, match=key):
            store.get(key, start=start, stop=stop)


@pytest.mark.parametrize("version", ["nothing-like-it", "a-real-one"])
def test_version_that_the_object_never_had_is_not_found(
    store: ModelStore, key: str, name: str, version: str
) -> None:
    other = store.put(f"{name}/other", b"other")
    store.put(key, DATA)
    wanted = other.version if version == "a-real-one" else version

    with pytest.raises(NotFound, match="version"):
        store.get(key, version=wanted)


def test_of_writers_at_once_one_wins_and_the_rest_see_its_bytes(
    ports: Harness, store: ModelStore, key: str
) -> None:
    barrier = threading.Barrier(WRITERS)

    def write(writer: int) -> bool:
        barrier.wait()
        try:
            store.put(key, b"%d" % writer)
        except AlreadyExists:
            return False
        return True

    with ThreadPoolExecutor(WRITERS) as pool:
        won = list(pool.map(write, range(WRITERS)))

    if ports.put_races_are_decided:
        assert sum(won) == 1
    assert won[int(store.get(key))]


def test_of_writers_of_the_same_bytes_at_once_all_win(
    ports: Harness, store: ModelStore, key: str
) -> None:
    barrier = threading.Barrier(WRITERS)

    def write(_writer: int) -> str:
        barrier.wait()
        return store.put(key, DATA).version

    with ThreadPoolExecutor(WRITERS) as pool:
        versions = set(pool.map(write, range(WRITERS)))

    if ports.put_races_are_decided:
        assert len(versions) == 1
    assert {store.get(key, version=version) for version in versions} == {DATA}


def blocks(*sizes: int) -> list[bytes]:
    return [bytes([number + 1]) * size for number, size in enumerate(sizes)]


@pytest.mark.parametrize(
    "sizes",
    [
        (),
        (10,),
        (3, 0, 10),
        (MIN_PART_BYTES, 7),
        (11 * MIB,),
        (MIN_PART_BYTES, MIN_PART_BYTES, 1),
        (MIN_PART_BYTES + 1, MIN_PART_BYTES + 1),
        (2 * MIN_PART_BYTES, 2 * MIN_PART_BYTES, 3),
    ],
    ids=lambda sizes: "+".join(map(str, sizes)) or "head-only",
)
def test_assemble_joins_the_head_and_all_parts_in_order(
    store: ModelStore, name: str, sizes: tuple[int, ...]
) -> None:
    contents, head = blocks(*sizes), b"header"
    parts = [f"{name}/{number:02d}" for number in range(len(sizes))]
    for part, content in zip(parts, contents, strict=True):
        store.put(part, content)

    info = store.assemble(f"{name}/whole", head, parts)

    whole = store.get(f"{name}/whole", version=info.version)
    assert info.size == len(whole) == len(head) + sum(sizes)
    assert hashlib.sha256(whole).digest() == hashlib.sha256(head + b"".join(contents)).digest()
    assert store.get(f"{name}/whole", start=3, stop=9) == (head + b"".join(contents))[3:9]


@pytest.mark.parametrize("size", [10, MIN_PART_BYTES], ids=["small", "large"])
def test_assemble_again_is_a_success(store: ModelStore, name: str, size: int) -> None:
    parts = [f"{name}/{number}" for number in range(3)]
    for part in parts:
        store.put(part, b"x" * size)

    first = store.assemble(f"{name}/whole", b"head", parts)
    again = store.assemble(f"{name}/whole", b"head", parts)

    assert (again.size, again.version) == (first.size, first.version)


@pytest.mark.parametrize("size", [10, MIN_PART_BYTES], ids=["small", "large"])
def test_assemble_over_an_object_of_another_size_is_refused(
    store: ModelStore, name: str, size: int
) -> None:
    parts = [f"{name}/{number}" for number in range(3)]
    for part in parts:
        store.put(part, b"x" * size)
    store.put(f"{name}/whole", DATA)

    with pytest.raises(AlreadyExists):
        store.assemble(f"{name}/whole", b"head", parts)

    assert store.get(f"{name}/whole") == DATA


def test_assemble_without_one_of_its_parts_makes_nothing(store: ModelStore, name: str) -> None:
    store.put(f"{name}/1", DATA)

    with pytest.raises(NotFound, match=f"{name}/2"):
        store.assemble(f"{name}/whole", b"", [f"{name}/1", f"{name}/2"])

    assert store.head(f"{name}/whole") is None


def test_assemble_of_much_with_a_small_part_in_the_middle_is_a_value_error(
    store: ModelStore, name: str
) -> None:
    parts = [f"{name}/{number}" for number in range(3)]
    for part, size in zip(parts, (MIN_PART_BYTES, 10, MIN_PART_BYTES), strict=True):
        store.put(part, b"x" * size)

    with pytest.raises(ValueError, match=f"{name}/"):
        store.assemble(f"{name}/whole", b"", parts)

    assert store.head(f"{name}/whole") is None


def test_put_over_an_assembled_object_compares_the_bytes(store: ModelStore, name: str) -> None:
    contents = blocks(MIN_PART_BYTES, MIN_PART_BYTES, 1)
    parts = [f"{name}/{number}" for number in range(3)]
    for part, content in zip(parts, contents, strict=True):
        store.put(part, content)
    whole = store.assemble(f"{name}/whole", b"", parts)

    assert store.put(f"{name}/whole", b"".join(contents)).version == whole.version
    with pytest.raises(AlreadyExists):
        store.put(f"{name}/whole", b"".join(contents[::-1]))
