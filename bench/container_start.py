"""From ``docker run`` of inference's image to its first prediction, with one small model.

Needs a Docker engine and ``make sample-models``; builds the image first, which is not timed.

``python -m bench.container_start``
"""

import http.client
import json
import statistics
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench import machine
from bench.inference.asked import pictures
from rondo_local.environments import checkout
from rondo_local.readiness import free_port

IMAGE = "rondo/inference:0.1.0"
MODEL = checkout() / "build" / "models" / "digits"
STARTS = 5
PORT = 8080
_PATIENCE_SECONDS = 60.0
_PAUSE_SECONDS = 0.01


@dataclass(frozen=True, slots=True)
class Start:
    """Seconds since ``docker run`` was typed.

    Attributes:
        returned: the engine has made the container and started its process.
        answered: the first prediction came through the published port.
    """

    returned: float
    answered: float


def started(model: Path) -> Start:
    """Start a container that serves a folder of one model, ask it until it predicts, remove it."""
    port, began = free_port(), time.monotonic()
    with container("--publish", f"127.0.0.1:{port}:{PORT}", "--volume", f"{model}:/models/m:ro"):
        returned = time.monotonic() - began
        while not predicts(port):
            if time.monotonic() > began + _PATIENCE_SECONDS:
                raise SystemExit(f"no prediction within {_PATIENCE_SECONDS:g} s")
            time.sleep(_PAUSE_SECONDS)
        return Start(returned, time.monotonic() - began)


@contextmanager
def container(*options: str) -> Iterator[None]:
    """Run the server in a container as locked up as Compose has it."""
    locked = ("--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL")  # noqa: S108  (inside it)
    serve = ("serve", "--models", "/models", "--port", str(PORT))
    name = docker("run", "--detach", *locked, *options, IMAGE, *serve).strip()
    try:
        yield
    finally:
        docker("rm", "--force", "--volumes", name)


def predicts(port: int) -> bool:
    """Ask for one prediction. Before the server listens the engine's proxy takes and drops it."""
    body = json.dumps({"instances": pictures(1)[..., 0].tolist()})
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        try:
            connection.request("POST", "/v1/models/m:predict", body)
            return connection.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False


def docker(*arguments: str) -> str:
    """Run ``docker`` to its end; return what it printed."""
    done = subprocess.run(
        ["docker", *arguments],  # noqa: S607  (wherever it is installed)
        cwd=checkout(),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise SystemExit(f"docker {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


def main() -> None:
    """Build, measure, print, write."""
    if not MODEL.exists():
        raise SystemExit("there is no build/models: run `make sample-models`")
    docker("compose", "build", "inference")
    found = [started(MODEL) for _ in range(STARTS)]
    shown = Table("seconds", "median", "most", title=f"{STARTS} starts of {IMAGE}")
    rows = {
        "docker run returned": [one.returned for one in found],
        "first prediction": [one.answered for one in found],
    }
    for what, seconds in rows.items():
        shown.add_row(what, f"{statistics.median(seconds):.2f}", f"{max(seconds):.2f}")
    Console().print(shown)
    machine.write_report("container_start", machine.versions("onnxruntime", "uvloop"), rows)


if __name__ == "__main__":
    main()
