"""RoundRequested: a task of the state machine asks for an attempt and waits with a token."""

from rondo_core.errors import Invalid
from rondo_core.events import RoundRequested
from rondo_core.rows import RoundRow, RunRow
from rondo_core.run_store import OneOf, Update
from rondo_dispatcher.domain.attempts import TERMINAL, AttemptId
from rondo_dispatcher.domain.ending import Answer, Fail, Succeed, answer
from rondo_dispatcher.domain.plan import Plan

__all__ = ["answer_at_once", "attempt_id", "join"]


def attempt_id(request: RoundRequested) -> AttemptId:
    """Return which attempt is asked for."""
    return AttemptId(request.run_id, request.state.round, request.state.attempt)


def answer_at_once(
    request: RoundRequested, run: RunRow, *, head: int, row: RoundRow | None
) -> Answer | None:
    """Return the answer to a task that need not wait, or None when it must.

    Raises:
        Invalid: no run asks for this round now; the text says which it could ask for.
    """
    of = attempt_id(request)
    if head >= of.round:
        return Succeed(of.round)
    if row is not None and row.state in TERMINAL:
        return answer(row, head=head)
    if run.state not in {"RUNNING", "PAUSED"}:
        return Fail(f"the run is {run.state}")
    if not head + 1 == of.round <= run.rounds:
        raise Invalid(
            f"round {of.round} of run {of.run_id} was asked for, but its newest version is {head}"
            f" and it has {run.rounds} rounds"
        )
    return None


def join(request: RoundRequested) -> Plan:
    """Return how a token is added to an attempt that goes on; tokens that wait already stay.

    Nothing is replaced: an older message may arrive last.
    """
    going_on = OneOf("state", ("PENDING", "OPEN", "SEALED"))
    token = {"task_tokens": frozenset({request.task_token})}
    return Plan((Update(attempt_id(request).key, add=token, when=(going_on,)),))
