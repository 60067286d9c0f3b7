"""Docker and Compose as commands; ``python -m tests.containers.engine`` says what is missing."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.architecture.packages import ROOT

__all__ = [
    "PROJECT",
    "SCALE",
    "compose",
    "docker",
    "environment",
    "inspect",
    "missing",
    "until",
]

PROJECT = "rondo-test"
"""Not the name that a developer's own stack has."""

SCALE = ("--scale", "aggregator-worker=3", "--scale", "inference=2")

PATIENCE_SECONDS = 300.0


def docker(*arguments: str, check: bool = True, errors: bool = False) -> str:
    """Run ``docker`` to its end; returns what it printed, with stderr if that is wanted."""
    done = subprocess.run(
        ["docker", *arguments],
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT if errors or check else subprocess.PIPE,
        text=True,
        check=False,
    )
    if check and done.returncode != 0:
        tail = "\n".join(done.stdout.splitlines()[-40:])
        raise AssertionError(f"docker {' '.join(arguments)} ended with {done.returncode}:\n{tail}")
    return done.stdout


def compose(*arguments: str) -> str:
    """Run ``docker compose`` on this checkout's file, everything of the demo included."""
    return docker("compose", "--ansi", "never", "--profile", "demo", *arguments)


def environment(*tools: Path) -> dict[str, str]:
    """Return the variables that Docker, and the README's commands with their tools, get.

    The demo's run is so short that the README's, which is longer, is better and gets promoted.
    """
    path = os.pathsep.join([*map(str, tools), os.environ["PATH"]])
    own = {"COMPOSE_PROJECT_NAME": PROJECT, "RONDO_DEMO_ROUNDS": "2", "PATH": path}
    return {**os.environ, **own}


def inspect(container: str) -> dict[str, Any]:
    """Return what the engine knows about a container."""
    (found,) = json.loads(docker("inspect", container))
    return dict(found)


def until(what: str, probe: Callable[[], bool]) -> None:
    """Ask until it is so; fails when patience ends."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not probe():
        assert time.monotonic() < deadline, f"still not after {PATIENCE_SECONDS:g} s: {what}"
        time.sleep(0.2)


def missing() -> str | None:
    """Say in one line what these tests lack on this machine; None: nothing."""
    if shutil.which("docker") is None:
        return "there is no `docker` command"
    for plugin in ("compose", "buildx"):
        if not _works(plugin, "version"):
            return f"`docker {plugin}` does not work: its plug-in is not installed"
    if not _works("version"):
        where = os.environ.get("DOCKER_HOST", "its usual socket")
        return f"no Docker engine answers at {where}"
    return None


def _works(*arguments: str) -> bool:
    done = subprocess.run(["docker", *arguments], capture_output=True, check=False)
    return done.returncode == 0


if __name__ == "__main__":
    lacking = missing()
    sys.exit(f"test-containers needs a Docker engine: {lacking}" if lacking else None)
