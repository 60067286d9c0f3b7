"""Keeps a handful of programs running, as Kubernetes would, and leaves none behind.

A program that ends is started again after a short backoff, unless it asks not to be. Each runs in
a session of its own, so that Ctrl-C reaches only the supervisor and a stop reaches a program's
children too; each also ends when the supervisor's process does (`rondo_local.leash`).
"""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, TracebackType
from typing import NoReturn, Self

from rondo_core.errors import Conflict, NotFound
from rondo_local import leash

__all__ = ["Program", "Supervisor", "exit_on_sigterm"]

_FIRST_BACKOFF_SECONDS = 0.2
_LONGEST_BACKOFF_SECONDS = 5.0
_HEALTHY_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Program:
    """What to run, and how to treat it.

    Attributes:
        name: names the process and its log file; unique in a supervisor.
        argv: the program's path or name on PATH, then its arguments.
        env: its whole environment; nothing is inherited, and the character set is UTF-8 if it
            does not say otherwise.
        restart: whether to start it again when it ends by itself. An emulator that lost its memory
            must not be, a service must.
        grace_seconds: from SIGTERM to SIGKILL.
    """

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    restart: bool = True
    grace_seconds: float = 10.0


class Supervisor:
    """Starts programs and stops them in reverse order; a context manager that stops all at its end.

    Safe to call from several threads.
    """

    def __init__(self, log_folder: Path) -> None:
        log_folder.mkdir(parents=True, exist_ok=True)
        self._log_folder = log_folder
        self._kept: dict[str, _Keeper] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop_all()

    def start(self, program: Program) -> None:
        """Start a program and keep it; returns when its process exists, not when it is ready.

        Raises:
            Conflict: a program of this name is kept already.
            NotFound: there is no such executable.
        """
        if shutil.which(program.argv[0], path=program.env.get("PATH")) is None:
            raise NotFound(f"{program.name}: there is no executable {program.argv[0]!r}")
        with self._lock:
            if program.name in self._kept:
                raise Conflict(f"a program named {program.name!r} is kept already")
            keeper = _Keeper(program, self.log_path(program.name))
            keeper.start()
            self._kept[program.name] = keeper

    def stop(self, name: str) -> None:
        """End one program and its children for good; blocks for its grace at most.

        Raises:
            NotFound: no program of this name is kept.
        """
        self._keeper(name).stop()
        with self._lock:
            self._kept.pop(name, None)

    def stop_all(self) -> None:
        """End every program, the last started first; safe to call twice."""
        for name in reversed(list(self._kept)):
            self.stop(name)

    def pid(self, name: str) -> int:
        """Process id of the present incarnation; a new one after each restart.

        Raises:
            NotFound: no program of this name is kept.
        """
        return self._keeper(name).pid

    def restarts(self, name: str) -> int:
        """How often the program was started again.

        Raises:
            NotFound: no program of this name is kept.
        """
        return self._keeper(name).restarts

    def ended(self) -> tuple[str, ...]:
        """Names of the programs that ended by themselves and are not to be started again."""
        return tuple(name for name, keeper in list(self._kept.items()) if keeper.ended)

    def log_path(self, name: str) -> Path:
        """File with the program's output, over all its incarnations."""
        return self._log_folder / f"{name}.log"

    def _keeper(self, name: str) -> "_Keeper":
        with self._lock:
            if name not in self._kept:
                raise NotFound(f"no program named {name!r} is kept")
            return self._kept[name]


class _Keeper:
    """One program and the thread that starts it, waits for its end and starts it again.

    The thread lives as long as the process: the leash is tied to the thread that started it.
    """

    def __init__(self, program: Program, log_path: Path) -> None:
        self.restarts = 0
        self._program = program
        self._log_path = log_path
        self._stopping = threading.Event()
        self._lock = threading.Lock()  # no process is started once a stop has begun
        self._first: Future[None] = Future()
        self._process: subprocess.Popen[bytes]
        self._thread = threading.Thread(target=self._keep, name=f"keep-{program.name}", daemon=True)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def ended(self) -> bool:
        return not self._stopping.is_set() and not self._thread.is_alive()

    def start(self) -> None:
        self._thread.start()
        self._first.result()

    def stop(self) -> None:
        with self._lock:
            self._stopping.set()
        self._signal_group(signal.SIGTERM)
        self._thread.join(self._program.grace_seconds)
        if self._thread.is_alive():
            self._signal_group(signal.SIGKILL)
            self._thread.join()

    def _keep(self) -> None:
        try:
            self._process = self._popen()
        except OSError as exc:
            self._first.set_exception(exc)
            return
        self._first.set_result(None)
        backoff_seconds = _FIRST_BACKOFF_SECONDS
        while True:
            healthy = self._await_end() >= _HEALTHY_SECONDS
            backoff_seconds = _FIRST_BACKOFF_SECONDS if healthy else backoff_seconds
            if not self._start_again(backoff_seconds):
                return
            backoff_seconds = min(2 * backoff_seconds, _LONGEST_BACKOFF_SECONDS)

    def _await_end(self) -> float:
        """Wait for the process, then end what it left behind; how many seconds it ran."""
        started = time.monotonic()
        self._process.wait()
        _kill_group(self._process.pid, signal.SIGKILL)
        return time.monotonic() - started

    def _start_again(self, backoff_seconds: float) -> bool:
        if not self._program.restart:
            return False
        self._stopping.wait(backoff_seconds)
        with self._lock:
            if self._stopping.is_set():
                return False
            self._process = self._popen()
            self.restarts += 1
        return True

    def _signal_group(self, number: signal.Signals) -> None:
        if self._process.poll() is None:
            _kill_group(self._process.pid, number)

    def _popen(self) -> "subprocess.Popen[bytes]":
        leashed = (sys.executable, "-I", "-S", leash.__file__, str(os.getpid()))
        with self._log_path.open("ab") as log:
            return subprocess.Popen(
                leashed + self._program.argv,
                env={"LC_CTYPE": "C.UTF-8", **self._program.env},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )


def _kill_group(leader: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):  # all of it has ended already, which is what was wanted
        os.killpg(leader, number)


@contextmanager
def exit_on_sigterm() -> Iterator[None]:
    """Make SIGTERM leave the block as Ctrl-C does, so that its clean-up runs; main thread only."""

    def leave(number: int, _frame: FrameType | None) -> NoReturn:
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
