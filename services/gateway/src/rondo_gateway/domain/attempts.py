"""The name of one attempt of a round, as rows, URLs and ``done=`` spell it."""

from typing import NamedTuple

from rondo_core.rows import RoundRow
from rondo_gateway.domain.refusals import Unfit

__all__ = ["AttemptId", "attempt_of", "parse_attempt"]

PARTS = 3


class AttemptId(NamedTuple):
    """Attempt ``attempt`` of round ``round`` of a run."""

    run_id: str
    round: int
    attempt: int

    def __str__(self) -> str:
        return f"{self.run_id}/{self.round}/{self.attempt}"


def attempt_of(row: RoundRow) -> AttemptId:
    """Name the attempt of a ROUND row."""
    return AttemptId(row.run_id, row.round, row.attempt)


def parse_attempt(text: str) -> AttemptId:
    """Read ``RUN/ROUND/ATTEMPT``.

    Raises:
        Unfit: ``invalid-attempt``.

    >>> parse_attempt("run-1/3/1")
    AttemptId(run_id='run-1', round=3, attempt=1)
    """
    parts = text.split("/")
    if len(parts) != PARTS or not all(part.isdecimal() for part in parts[1:]):
        raise Unfit("invalid-attempt", f"{text!r} is not RUN/ROUND/ATTEMPT")
    return AttemptId(parts[0], int(parts[1]), int(parts[2]))
