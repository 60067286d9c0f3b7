"""The suite that every ``ObjectFolders`` passes."""

from collections.abc import Iterator

import pytest

from rondo_core.errors import Unavailable
from rondo_core.model_store import AlreadyExists
from tests.contract.harness import Harness

MIB = 1024 * 1024


def test_list_gives_the_objects_below_a_folder_in_the_order_of_their_bytes(
    ports: Harness, name: str
) -> None:
    for key in ("b", "a/2", "a/10", "a/ä", "a/Z"):
        ports.model_store.put(f"{name}/{key}", key.encode())

    found = [
        (one.key.removeprefix(f"{name}/"), one.size) for one in ports.folders.list(f"{name}/a/")
    ]

    assert found == [("a/10", 4), ("a/2", 3), ("a/Z", 3), ("a/ä", 4)]


def test_list_of_nothing_is_empty(ports: Harness, name: str) -> None:
    assert list(ports.folders.list(f"{name}/")) == []


@pytest.mark.parametrize(
    "sizes", [[], [0], [5, 0, 7], [3 * MIB] * 6 + [1], [8 * MIB], [20 * MIB]], ids=str
)
def test_write_joins_blocks_of_any_sizes(ports: Harness, name: str, sizes: list[int]) -> None:
    blocks = [bytes([65 + at]) * size for at, size in enumerate(sizes)]

    written = ports.folders.write(f"{name}/long", iter(blocks))

    assert written == sum(sizes)
    assert ports.model_store.get(f"{name}/long") == b"".join(blocks)


@pytest.mark.parametrize("size", [10, 9 * MIB])
def test_write_again_is_a_success_and_changes_nothing(ports: Harness, name: str, size: int) -> None:
    key = f"{name}/long"
    ports.folders.write(key, [b"a" * size])

    assert ports.folders.write(key, [b"a" * size]) == size
    assert ports.model_store.get(key)[:10] == b"a" * 10


@pytest.mark.parametrize("size", [10, 9 * MIB])
def test_write_over_an_object_of_another_size_is_refused(
    ports: Harness, name: str, size: int
) -> None:
    key = f"{name}/long"
    ports.folders.write(key, [b"a" * size])

    with pytest.raises(AlreadyExists):
        ports.folders.write(key, [b"a" * (size + 1)])
    assert ports.model_store.get(key) == b"a" * size


def test_write_of_blocks_that_break_off_makes_nothing(ports: Harness, name: str) -> None:
    def blocks() -> Iterator[bytes]:
        yield b"a" * 9 * MIB
        raise Unavailable("the source is away")

    with pytest.raises(Unavailable, match="the source is away"):
        ports.folders.write(f"{name}/long", blocks())

    assert ports.model_store.head(f"{name}/long") is None


def test_remove_takes_a_folder_and_leaves_its_neighbours(ports: Harness, name: str) -> None:
    for key in ("a/1", "a/2", "ab", "b/1"):
        ports.model_store.put(f"{name}/{key}", b"x")

    assert ports.folders.remove(f"{name}/a/") == 2
    assert ports.folders.remove(f"{name}/a/") == 0

    left = [one.key.removeprefix(f"{name}/") for one in ports.folders.list(f"{name}/")]
    assert left == ["ab", "b/1"]
    assert ports.model_store.head(f"{name}/a/1") is None


def test_remove_of_what_is_no_folder_is_a_mistake(ports: Harness, name: str) -> None:
    with pytest.raises(ValueError, match="does not end with a slash"):
        ports.folders.remove(name)
