"""Dispatchers that stop before each call of a port, so that a test chooses every interleaving.

Each runs in a thread, but only one thread of all ever runs: whoever resumes an actor waits until it
stops again or is done.
"""

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

from rondo_core.errors import Unavailable
from rondo_dispatcher.handlers.ports import Ports

__all__ = ["Actor", "Fault"]

Fault = Literal["none", "refused", "lost", "crash before", "crash after"]
"""What happens at a call: nothing, no answer (and not done, or done), or the process dies."""

PORTS = {
    "store": ("get", "query", "active", "commit"),
    "model_store": ("put", "head"),
    "workflow": ("start", "succeed", "fail"),
}


class _Crash(BaseException):
    """The process died."""


class _Port:
    """Passes every call on, but lets the actor stop before it."""

    def __init__(self, inner: Any, names: tuple[str, ...], actor: "Actor") -> None:
        for name in names:
            setattr(self, name, actor.stopping(getattr(inner, name)))


class Actor:
    """One process that does one thing at a time.

    Args:
        ports: the real ones, shared by all.
        work: makes of the actor's own ports what it may be told to do.
    """

    def __init__(
        self, ports: Ports, work: Callable[[Ports], dict[str, Callable[[], object]]]
    ) -> None:
        self._turn = threading.Semaphore(0)
        self._back = threading.Semaphore(0)
        self._fault: Fault = "none"
        self._thread: threading.Thread | None = None
        self._failed: list[BaseException] = []
        own: dict[str, Any] = {
            name: _Port(getattr(ports, name), methods, self) for name, methods in PORTS.items()
        }
        self._work = work(replace(ports, publish=self.stopping(ports.publish), **own))

    @property
    def busy(self) -> bool:
        """Whether it has stopped in the middle of something."""
        return self._thread is not None

    def begin(self, what: str) -> None:
        """Start something; returns when it stops before its first call, or is done."""
        assert self._thread is None
        task = self._work[what]
        self._thread = threading.Thread(target=self._run, args=(task,), daemon=True)
        self._thread.start()
        self._wait()

    def step(self, fault: Fault = "none") -> None:
        """Let it make the call before which it stopped, and go on to the next."""
        assert self._thread is not None
        self._fault = fault
        self._turn.release()
        self._wait()

    def stopping(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """Return the call with a stop before it."""

        def stop_and_call(*args: Any, **named: Any) -> Any:
            self._back.release()
            self._turn.acquire()
            fault = self._fault
            if fault == "crash before":
                raise _Crash
            if fault == "refused":
                raise Unavailable("no answer, nothing done")
            answer = call(*args, **named)
            if fault == "crash after":
                raise _Crash
            if fault == "lost":
                raise Unavailable("no answer, but done")
            return answer

        return stop_and_call

    def _run(self, task: Callable[[], object]) -> None:
        try:
            task()
        except _Crash:
            pass
        except Unavailable:
            pass
        except BaseException as exc:  # noqa: BLE001  (raised again in the test's own thread)
            self._failed.append(exc)
        self._thread = None
        self._back.release()

    def _wait(self) -> None:
        self._back.acquire()
        if self._failed:
            raise self._failed.pop()
