"""The run's state machine in Step Functions."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec
from botocore.exceptions import ClientError

from rondo_core.aws.failures import answered, error_code
from rondo_core.errors import Conflict
from rondo_core.events import RunProgress

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient

__all__ = ["StepFunctionsWorkflow"]

_STALE = frozenset({"InvalidToken", "TaskDoesNotExist", "TaskTimedOut"})
_LONGEST_ERROR = 256
_LONGEST_CAUSE = 32_768


class StepFunctionsWorkflow:
    """A ``Workflow`` on one state machine; thread-safe, as its client is."""

    def __init__(self, client: "SFNClient", state_machine_arn: str) -> None:
        self._client = client
        self._state_machine_arn = state_machine_arn

    def start(self, progress: RunProgress) -> None:
        """Start the execution that is named by the run; the same again changes nothing."""
        with answered(f"start execution {progress.run_id}"):
            try:
                self._client.start_execution(
                    stateMachineArn=self._state_machine_arn,
                    name=progress.run_id,
                    input=msgspec.json.encode(progress).decode(),
                )
            except ClientError as exc:
                if error_code(exc) != "ExecutionAlreadyExists":
                    raise
                self._compare(progress)

    def succeed(self, token: str, output: dict[str, object]) -> None:
        """Answer a task token; a stale one is not an error."""
        with answered("answer a task token"), _stale_is_fine():
            self._client.send_task_success(taskToken=token, output=json.dumps(output))

    def fail(self, token: str, *, error: str, cause: str) -> None:
        """Answer a task token with an error; a stale one is not an error."""
        with answered("answer a task token"), _stale_is_fine():
            self._client.send_task_failure(
                taskToken=token, error=error[:_LONGEST_ERROR], cause=cause[:_LONGEST_CAUSE]
            )

    def _compare(self, progress: RunProgress) -> None:
        # AWS says so for a run that is over, MiniStack also for the same input while it goes on.
        machine = self._state_machine_arn.replace(":stateMachine:", ":execution:")
        execution = self._client.describe_execution(executionArn=f"{machine}:{progress.run_id}")
        if json.loads(execution["input"]) != msgspec.to_builtins(progress):
            raise Conflict(f"execution {progress.run_id} exists with another input")


@contextmanager
def _stale_is_fine() -> Iterator[None]:
    try:
        yield
    except ClientError as exc:
        if error_code(exc) not in _STALE:
            raise
