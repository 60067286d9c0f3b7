"""The port of the run's state machine: start an execution, answer a task token."""

from typing import Protocol

from rondo_core.events import RunProgress

__all__ = ["ROUND_ABORTED", "Workflow"]

ROUND_ABORTED = "RoundAborted"
"""The error by which the state machine knows that the attempt ended and may ask for the next."""


class Workflow(Protocol):
    """Step Functions, seen from a service.

    Trust the row, never the answer of ``succeed`` and ``fail``.
    """

    def start(self, progress: RunProgress) -> None:
        """Start the run's execution, named by the run id.

        Blocks. Calling it again with the same input changes nothing.

        Raises:
            Conflict: an execution of that name exists with another input.
            Unavailable: no answer; call again.
        """
        ...

    def succeed(self, token: str, output: dict[str, object]) -> None:
        """Answer a task token.

        A token that is unknown, old or already answered is not an error. Safe to call twice.

        Raises:
            Unavailable: no answer; call again.
        """
        ...

    def fail(self, token: str, *, error: str, cause: str) -> None:
        """Answer a task token with an error name that the state machine can catch.

        Otherwise as ``succeed``.
        """
        ...
