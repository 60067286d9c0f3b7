"""Installed closures, each made once a session when a test first asks for it."""

import fcntl
import functools
from collections.abc import Iterator
from pathlib import Path

import pytest

from rondo_local.environments import checkout
from tests.deploy.closures import Closure, Install, Installed, build_wheels, install


@pytest.fixture(scope="session")
def install_closure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Install]:
    # Not in the system's temporary folder, which may be small, or memory: TensorFlow is large.
    folder = checkout() / "build" / "closures"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "in-use.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another session of this checkout waits
        yield functools.cache(_installer(folder, build_wheels(tmp_path_factory.mktemp("wheels"))))


def _installer(folder: Path, wheels: dict[str, Path]) -> Install:
    def once(closure: Closure) -> Installed:
        return install(closure, folder / str(closure), wheels)

    return once
