"""The peers' environments: one each, made below ``build/peers`` at first use."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

__all__ = ["PEERS", "peer_python", "run"]

ROOT = Path(__file__).parents[2]
PEERS = {"flower": "flwr==1.42.0", "nvflare": "nvflare==2.9.0"}
"""Peer -> what is installed."""


def peer_python(name: str) -> str:
    """Return the interpreter of a peer's environment, after making it if it is not there."""
    folder = ROOT / "build" / "peers" / name
    python = folder / "bin" / "python"
    if not python.exists():
        uv = str(Path(sys.executable).parent / "uv")
        run([uv, "venv", "--quiet", "--python", sys.executable, str(folder)])
        run([uv, "pip", "install", "--quiet", "--python", str(python), PEERS[name]])
    return str(python)


def run(command: Sequence[str], *, given: str | None = None) -> str:
    """Run a program of one core from the repository's root, and return what it prints."""
    threads = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    environment = {**os.environ, **dict.fromkeys(threads, "1")}
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=environment,
        input=given,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{command}: {done.stderr[-2000:]}")
    return done.stdout
