"""When an environment is made, and of what; nothing is installed here."""

import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from rondo_core.errors import NotFound, Unavailable
from rondo_local.environments import ensure, find_python_311, run_to_end


class RecordingRun:
    """Stands in for venv and uv: notes what is run, and makes the folder as they would."""

    def __init__(self, folder: Path) -> None:
        self.argvs: list[list[str]] = []
        self._folder = folder

    def __call__(self, argv: Sequence[str]) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        self.argvs.append(list(argv))


def test_an_environment_is_made_on_first_use_only(tmp_path: Path) -> None:
    run = RecordingRun(tmp_path / "emulators" / "ministack")

    first = ensure("ministack", tmp_path, run)
    steps = len(run.argvs)
    second = ensure("ministack", tmp_path, run)

    assert first == second == tmp_path / "emulators" / "ministack"
    assert len(run.argvs) == steps == 2


def test_an_environment_made_of_something_else_is_made_again(tmp_path: Path) -> None:
    run = RecordingRun(tmp_path / "emulators" / "redis")
    folder = ensure("redis", tmp_path, run)
    (folder / "made-of.sha256").write_text("another pin list")
    (folder / "left over").touch()

    ensure("redis", tmp_path, run)

    assert len(run.argvs) == 2
    assert not (folder / "left over").exists()


def test_an_environment_whose_making_failed_is_made_again(tmp_path: Path) -> None:
    def fail(argv: Sequence[str]) -> None:
        raise Unavailable(argv[0])

    run = RecordingRun(tmp_path / "emulators" / "redis")
    with pytest.raises(Unavailable):
        ensure("redis", tmp_path, fail)

    ensure("redis", tmp_path, run)

    assert len(run.argvs) == 1


def test_two_who_want_one_environment_make_it_once(tmp_path: Path) -> None:
    run = RecordingRun(tmp_path / "emulators" / "redis")
    threads = [threading.Thread(target=ensure, args=("redis", tmp_path, run)) for _ in range(4)]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(run.argvs) == 1


def test_localstack_is_made_of_its_pins_and_our_plugin(tmp_path: Path) -> None:
    run = RecordingRun(tmp_path / "emulators" / "localstack")

    ensure("localstack", tmp_path, run)

    venv, pins, plugin = (argv[-1] for argv in run.argvs)
    assert venv == str(tmp_path / "emulators" / "localstack")
    assert pins.endswith("local/localstack/requirements.txt")
    assert plugin.endswith("/plugin")
    assert not plugin.endswith("local/localstack/plugin")  # a copy: building writes beside sources


def test_redis_is_unpacked_whatever_python_runs_us(tmp_path: Path) -> None:
    run = RecordingRun(tmp_path / "emulators" / "redis")

    ensure("redis", tmp_path, run)

    (argv,) = run.argvs
    assert argv[argv.index("--python-version") + 1] == "3.11"
    assert argv[argv.index("--target") + 1] == str(tmp_path / "emulators" / "redis")


def test_no_python_311_is_said_plainly() -> None:
    with pytest.raises(NotFound, match=r"needs Python 3\.11.*no-such-python"):
        find_python_311(["no-such-python", "false"])


def test_a_failed_program_is_quoted() -> None:
    with pytest.raises(Unavailable, match=r"(?s)ended with 3:.*no space"):
        run_to_end([sys.executable, "-c", "import sys; print('no space'); sys.exit(3)"])
