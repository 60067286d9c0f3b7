"""The images, built once a session; the stack, started once and taken down in the end."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rondo_local.environments import checkout
from tests.architecture.packages import ROOT
from tests.containers.engine import SCALE, compose, docker, missing
from tests.deploy.compose import compose_file, ours

AWSCLI = Path(__file__).parent / "awscli.txt"


@pytest.fixture(scope="session")
def images() -> tuple[str, ...]:
    """Names of all images of this checkout, built."""
    lacking = missing()
    assert lacking is None, f"needs a Docker engine: {lacking}"
    started = time.monotonic()
    compose("build")
    sys.stdout.write(f"\nall images built in {time.monotonic() - started:.0f} s\n")
    return tuple(sorted({one["image"] for one in ours(compose_file()).values()}))


@pytest.fixture(scope="package")
def stack(images: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Everything up and healthy by the README's own command, with two replicas of inference."""
    assert images
    try:
        docker("compose", "up", "--wait", *SCALE)
        yield images
    finally:
        compose("down", "--volumes", "--remove-orphans")


@pytest.fixture(scope="session")
def aws_folder() -> Path:
    """Folder of the plain AWS command, in an environment of its own that is kept."""
    folder = checkout() / "build" / "awscli"
    stamp = folder / "made-of.txt"
    if not stamp.exists() or stamp.read_text() != AWSCLI.read_text():
        subprocess.run(
            [sys.executable, "-m", "venv", "--clear", "--without-pip", folder], check=True
        )
        uv = (sys.executable, "-m", "uv", "pip", "install", "--quiet")
        subprocess.run([*uv, "--python", folder, "--requirement", AWSCLI], cwd=ROOT, check=True)
        stamp.write_text(AWSCLI.read_text())
    return folder / "bin"
