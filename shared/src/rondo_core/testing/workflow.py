"""The state machine in memory: interprets what a run uses of the Amazon States Language."""

import json
import operator
import re
import threading
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from rondo_core.clock import Clock
from rondo_core.errors import Conflict
from rondo_core.events import RunProgress
from rondo_core.testing.bus import MemoryBus
from rondo_core.testing.clock import ManualClock
from rondo_core.topology import state_machine_definition

__all__ = ["MemoryWorkflow"]

Status = Literal["RUNNING", "SUCCEEDED", "FAILED"]
MATH_ADD = re.compile(r"States\.MathAdd\((\$[\w.]*), (-?\d+)\)")
FORMAT = re.compile(r"States\.Format\('([^']*)', (.*)\)")
PUBLISH_AND_WAIT = "arn:aws:states:::sns:publish.waitForTaskToken"


@dataclass(slots=True)
class _Execution:
    asked: RunProgress
    data: dict[str, Any]
    state: str
    status: Status = "RUNNING"
    token: str | None = None
    error: str | None = None


class MemoryWorkflow:
    """A ``Workflow`` that runs ``run.asl.json``; has published when it returns. Thread-safe.

    Understands Task (``sns:publish.waitForTaskToken``, ``ResultPath`` null, Catch), Choice
    (``NumericLessThan[Path]``), Pass, Succeed and Fail; paths, ``States.MathAdd`` and
    ``States.Format``; all else is a KeyError.
    """

    def __init__(self, bus: MemoryBus, clock: Clock | None = None) -> None:
        self._bus = bus
        self._clock = clock or ManualClock()
        self._machine: dict[str, Any] = json.loads(state_machine_definition())
        self._executions: dict[str, _Execution] = {}
        self._tokens = 0
        self._lock = threading.RLock()

    def start(self, progress: RunProgress) -> None:
        """Start an execution named by the run; the same again changes nothing.

        Raises:
            Conflict: it exists with another input.
        """
        with self._lock:
            known = self._executions.get(progress.run_id)
            if known is None:
                data = msgspec.to_builtins(progress)
                execution = _Execution(progress, data, self._machine["StartAt"])
                self._executions[progress.run_id] = execution
                self._run(execution)
            elif known.asked != progress:
                raise Conflict(f"execution {progress.run_id} exists with another input")

    def succeed(self, token: str, output: dict[str, object]) -> None:
        """Answer a waiting task; a token that nobody waits for changes nothing."""
        json.dumps(output)
        with self._lock:
            execution = self._waiting(token)
            if execution is not None:
                execution.state = self._machine["States"][execution.state]["Next"]
                self._run(execution)

    def fail(self, token: str, *, error: str, cause: str) -> None:
        """Answer a waiting task with an error; a token that nobody waits for changes nothing."""
        with self._lock:
            execution = self._waiting(token)
            if execution is not None:
                self._catch(execution, error, cause)

    def time_out(self, run_id: str) -> None:
        """Let a run's waiting task end with ``States.Timeout``, as after ``TimeoutSeconds``."""
        with self._lock:
            self._catch(self._executions[run_id], "States.Timeout", "")

    def status(self, run_id: str) -> Status | None:
        """Return how a run's execution stands, or None when there is none."""
        execution = self._executions.get(run_id)
        return None if execution is None else execution.status

    def token(self, run_id: str) -> str | None:
        """Return the task token that a run's execution waits for, or None."""
        return self._executions[run_id].token

    def _waiting(self, token: str) -> _Execution | None:
        return next((one for one in self._executions.values() if one.token == token), None)

    def _catch(self, execution: _Execution, error: str, cause: str) -> None:
        state = self._machine["States"][execution.state]
        for catcher in state.get("Catch", []):
            if error in catcher["ErrorEquals"] or "States.ALL" in catcher["ErrorEquals"]:
                execution.state = catcher["Next"]
                self._run(execution)
                return
        self._end(execution, "FAILED", f"{error}: {cause}")

    def _run(self, execution: _Execution) -> None:
        """Take steps until a task waits or the execution is over."""
        execution.token = None
        while True:
            state = self._machine["States"][execution.state]
            match state["Type"]:
                case "Task":
                    return self._ask(execution, state)
                case "Choice":
                    execution.state = _choose(state, execution.data)
                case "Pass":
                    if "Parameters" in state:
                        execution.data = self._fill(state["Parameters"], execution)
                    execution.state = state["Next"]
                case "Succeed":
                    return self._end(execution, "SUCCEEDED", None)
                case "Fail":
                    return self._end(execution, "FAILED", state["Error"])
                case other:
                    raise KeyError(other)

    def _ask(self, execution: _Execution, state: dict[str, Any]) -> None:
        if state["Resource"] != PUBLISH_AND_WAIT or state["ResultPath"] is not None:
            raise KeyError(state["Resource"])
        self._tokens += 1
        execution.token = f"token-{self._tokens}"
        self._bus.publish_body(json.dumps(self._fill(state["Parameters"]["Message"], execution)))

    def _fill(self, template: dict[str, Any], execution: _Execution) -> dict[str, Any]:
        filled: dict[str, Any] = {}
        for name, value in template.items():
            if name.endswith(".$"):
                filled[name.removesuffix(".$")] = self._value(value, execution)
            else:
                filled[name] = self._fill(value, execution) if isinstance(value, dict) else value
        return filled

    def _value(self, path: str, execution: _Execution) -> Any:  # noqa: ANN401  (JSON)
        if path == "$$.Task.Token":
            return execution.token
        if path == "$$.State.EnteredTime":
            return self._clock.now().isoformat().replace("+00:00", "Z")
        if sum_ := MATH_ADD.fullmatch(path):
            return _at(execution.data, sum_[1]) + int(sum_[2])
        if text := FORMAT.fullmatch(path):
            return text[1].format(*(_at(execution.data, one) for one in text[2].split(", ")))
        return _at(execution.data, path)

    def _end(self, execution: _Execution, status: Status, error: str | None) -> None:
        execution.status, execution.token, execution.error = status, None, error


def _at(data: dict[str, Any], path: str) -> Any:  # noqa: ANN401  (JSON)
    return data if path == "$" else operator.getitem(data, path.removeprefix("$."))


def _choose(state: dict[str, Any], data: dict[str, Any]) -> str:
    for choice in state["Choices"]:
        path = choice.get("NumericLessThanPath")
        limit = choice["NumericLessThan"] if path is None else _at(data, path)
        if _at(data, choice["Variable"]) < limit:
            return str(choice["Next"])
    return str(state["Default"])
