"""The supervisor on real, tiny processes."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from rondo_core.errors import Conflict, NotFound
from rondo_local.processes import Program, Supervisor, exit_on_sigterm

_SLEEP = ("sleep", "60")
_PATH = {"PATH": "/usr/local/bin:/usr/bin:/bin"}


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    with Supervisor(tmp_path / "logs") as running:
        yield running


def test_a_program_gets_its_environment_and_nothing_else(supervisor: Supervisor) -> None:
    supervisor.start(Program("env", ("env",), {**_PATH, "COLOUR": "blue"}, restart=False))

    _eventually(lambda: supervisor.ended() == ("env",))

    printed = supervisor.log_path("env").read_text().splitlines()
    assert sorted(printed) == ["COLOUR=blue", "LC_CTYPE=C.UTF-8", f"PATH={_PATH['PATH']}"]


def test_a_killed_program_is_started_again(supervisor: Supervisor) -> None:
    supervisor.start(Program("victim", _SLEEP, _PATH))
    before = supervisor.pid("victim")

    os.kill(before, signal.SIGKILL)

    _eventually(lambda: supervisor.restarts("victim") == 1)
    assert supervisor.pid("victim") != before
    assert _is_alive(supervisor.pid("victim"))
    assert supervisor.ended() == ()


def test_a_program_that_keeps_failing_is_started_less_and_less_often(
    supervisor: Supervisor,
) -> None:
    supervisor.start(Program("broken", ("false",), _PATH))

    _eventually(lambda: supervisor.restarts("broken") == 1)
    started = time.monotonic()
    _eventually(lambda: supervisor.restarts("broken") == 2)

    assert time.monotonic() - started >= 0.3  # the second backoff is 0.4 s, the first 0.2 s


def test_a_program_not_to_be_restarted_stays_ended(supervisor: Supervisor) -> None:
    supervisor.start(Program("once", _SLEEP, _PATH, restart=False))

    os.kill(supervisor.pid("once"), signal.SIGKILL)

    _eventually(lambda: supervisor.ended() == ("once",))
    assert supervisor.restarts("once") == 0


def test_the_children_of_a_killed_program_end_with_it(supervisor: Supervisor) -> None:
    child = _start_with_child(supervisor)

    os.kill(supervisor.pid("parent"), signal.SIGKILL)

    _eventually(lambda: not _is_alive(child))


def test_stop_ends_a_programs_children_too(supervisor: Supervisor) -> None:
    child = _start_with_child(supervisor)
    parent = supervisor.pid("parent")

    supervisor.stop("parent")

    assert not _is_alive(parent)
    _eventually(lambda: not _is_alive(child))


def test_a_program_that_ignores_sigterm_is_killed_after_its_grace(supervisor: Supervisor) -> None:
    deaf = "trap '' TERM; echo deaf; while :; do sleep 0.05; done"
    supervisor.start(Program("deaf", ("sh", "-c", deaf), _PATH, grace_seconds=0.2))
    _await_output(supervisor, "deaf")
    pid = supervisor.pid("deaf")

    supervisor.stop("deaf")

    assert not _is_alive(pid)


def test_stop_all_ends_the_last_started_first(supervisor: Supervisor, tmp_path: Path) -> None:
    order = tmp_path / "order"
    for name in ("first", "second", "third"):
        says = f"trap 'echo {name} >> {order}; exit' TERM; echo up; while :; do sleep 0.02; done"
        supervisor.start(Program(name, ("sh", "-c", says), _PATH))
        _await_output(supervisor, name)

    supervisor.stop_all()

    assert order.read_text().split() == ["third", "second", "first"]


def test_a_stopped_program_is_not_started_again(supervisor: Supervisor) -> None:
    supervisor.start(Program("brief", ("true",), _PATH))

    supervisor.stop("brief")

    with pytest.raises(NotFound, match="'brief'"):
        supervisor.pid("brief")


def test_leaving_the_block_by_an_error_stops_everything(tmp_path: Path) -> None:
    pids = []

    def fail_while_running() -> None:
        with Supervisor(tmp_path) as supervisor:
            supervisor.start(Program("sleeper", _SLEEP, _PATH))
            pids.append(supervisor.pid("sleeper"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_while_running()
    assert [_is_alive(pid) for pid in pids] == [False]


def test_a_second_program_of_one_name_is_refused(supervisor: Supervisor) -> None:
    supervisor.start(Program("twin", _SLEEP, _PATH))

    with pytest.raises(Conflict, match="'twin'"):
        supervisor.start(Program("twin", _SLEEP, _PATH))


def test_a_missing_executable_is_named(supervisor: Supervisor) -> None:
    with pytest.raises(NotFound, match="no-such-program"):
        supervisor.start(Program("ghost", ("no-such-program",), _PATH))

    assert supervisor.ended() == ()


@pytest.mark.skipif(sys.platform != "linux", reason="the leash is a call of Linux")
def test_programs_end_with_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path\n"
        "from rondo_local.processes import Program, Supervisor\n"
        f"supervisor = Supervisor(Path({str(tmp_path)!r}))\n"
        f"supervisor.start(Program('orphan', {_SLEEP}, {_PATH}))\n"
        "print(supervisor.pid('orphan'), flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        orphan = int(owner.stdout.readline())
        assert _is_alive(orphan)

        owner.kill()

    _eventually(lambda: not _is_alive(orphan))


def test_sigterm_leaves_the_block_through_its_clean_up() -> None:
    before = signal.getsignal(signal.SIGTERM)

    with pytest.raises(SystemExit) as left, exit_on_sigterm():
        signal.raise_signal(signal.SIGTERM)

    assert left.value.code == 128 + signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) is before


def _start_with_child(supervisor: Supervisor) -> int:
    """Start "parent", a shell with a child that ignores SIGTERM; the child's process id."""
    script = "sh -c 'trap \"\" TERM; while :; do sleep 0.05; done' & echo $!; wait"
    supervisor.start(Program("parent", ("sh", "-c", script), _PATH))
    return int(_await_output(supervisor, "parent"))


def _await_output(supervisor: Supervisor, name: str) -> str:
    log = supervisor.log_path(name)
    _eventually(lambda: log.read_text().endswith("\n"))
    return log.read_text()


def _is_alive(pid: int) -> bool:
    """Whether the process runs; one that ended and waits to be reaped does not."""
    with suppress(ProcessLookupError, FileNotFoundError):
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    return False


def _eventually(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    wait = threading.Event()
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        wait.wait(0.01)
