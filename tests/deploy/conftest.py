"""Installed closures and rendered manifests, made once a session when a test asks for them."""

import fcntl
import functools
from collections.abc import Iterator
from pathlib import Path

import pytest

from rondo_local.environments import checkout
from tests.deploy.closures import Closure, Install, Installed, build_wheels, install
from tests.deploy.kubernetes_tools import K8S, Judged, Tools, kubernetes_tools
from tests.deploy.kubernetes_view import OVERLAYS, Overlay


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


@pytest.fixture(scope="session")
def tools() -> Tools:
    return kubernetes_tools()


@pytest.fixture(scope="session")
def manifests(tools: Tools, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Overlay -> the file that it is rendered to."""
    folder = tmp_path_factory.mktemp("manifests")
    files = {name: folder / f"{name}.yaml" for name in OVERLAYS}
    for name, file in files.items():
        file.write_text(tools.render(K8S / "overlays" / name))
    return files


@pytest.fixture(scope="session", params=OVERLAYS)
def overlay(request: pytest.FixtureRequest, overlays: dict[str, Overlay]) -> Overlay:
    return overlays[request.param]


@pytest.fixture(scope="session")
def overlays(judged: dict[str, Judged]) -> dict[str, Overlay]:
    return {name: Overlay(name, one.documents) for name, one in judged.items()}


@pytest.fixture(scope="session")
def judged(tools: Tools, manifests: dict[str, Path]) -> dict[str, Judged]:
    return dict(zip(manifests, tools.read(*manifests.values()), strict=True))
