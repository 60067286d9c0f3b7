"""Where local files lie, and that none outlives its worker for long."""

import fcntl
import os
import tempfile
from pathlib import Path

import pytest

from rondo_aggregator.adapters import cache_folder as module
from rondo_aggregator.adapters.cache_folder import cache_folder


def test_a_folder_is_private_and_gone_at_the_end(tmp_path: Path) -> None:
    with cache_folder(str(tmp_path), max_bytes=1) as folder:
        (folder / "file").write_bytes(b"x")

        assert folder.parent.stat().st_mode & 0o777 == 0o700

    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_worker_left_is_removed_by_the_next(tmp_path: Path) -> None:
    left = tmp_path / "rondo-cache-killed"
    (left / "files").mkdir(parents=True)
    (left / "lock").touch()

    with cache_folder(str(tmp_path), max_bytes=1):
        assert not left.exists()


def test_the_folder_of_a_worker_that_lives_is_left_alone(tmp_path: Path) -> None:
    with cache_folder(str(tmp_path), max_bytes=1) as first:
        (first / "file").write_bytes(b"x")
        with cache_folder(str(tmp_path), max_bytes=1) as second:
            assert second != first

        assert (first / "file").read_bytes() == b"x"


def test_a_folder_that_is_just_being_made_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "rondo-cache-new").mkdir()

    with cache_folder(str(tmp_path), max_bytes=1):
        pass

    assert [path.name for path in tmp_path.iterdir()] == ["rondo-cache-new"]


def test_memory_is_taken_only_where_there_is_plenty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory, disk = tmp_path / "memory", tmp_path / "disk"
    memory.mkdir()
    disk.mkdir()
    monkeypatch.setattr(module, "_MEMORY", memory)
    monkeypatch.setattr(tempfile, "tempdir", str(disk))
    free = os.statvfs(memory)

    with cache_folder(None, max_bytes=1) as folder:
        assert folder.is_relative_to(memory)
    with cache_folder(None, max_bytes=free.f_blocks * free.f_frsize) as folder:
        assert folder.is_relative_to(disk)


def test_a_machine_without_a_file_system_in_memory_uses_its_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MEMORY", tmp_path / "nothing")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    with cache_folder(None, max_bytes=1) as folder:
        assert folder.is_relative_to(tmp_path)


def test_the_lock_is_held_while_the_worker_lives(tmp_path: Path) -> None:
    with (
        cache_folder(str(tmp_path), max_bytes=1) as folder,
        (folder.parent / "lock").open() as lock,
        pytest.raises(BlockingIOError),
    ):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
