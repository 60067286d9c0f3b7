"""A machine dies in the middle of a round: the round ends, and every update counts once."""

import os
import signal
import threading
from functools import partial
from pathlib import Path

import pytest

from rondo.trainer import RoundTask
from rondo_core.operator_wire import RunView
from rondo_local.stack import Stack
from tests.e2e.people import (
    PATIENCE_SECONDS,
    SoftmaxRegression,
    await_run,
    check_every_round,
    digits,
    people,
    start_run,
)

VICTIMS = ("gateway", "dispatcher", "aggregator-intake", "aggregator-worker")
"""One a round, in this order; after the last the evaluator."""

pytestmark = pytest.mark.timeout(600)


def test_every_service_may_be_killed_in_the_middle_of_a_round(stack: Stack, tmp_path: Path) -> None:
    released = [threading.Event() for _ in VICTIMS]

    def hold_back(task: RoundTask) -> None:
        assert released[task.round - 1].wait(PATIENCE_SECONDS)

    trainers = {
        "quick": SoftmaxRegression(digits(1, 5)),
        "brisk": SoftmaxRegression(digits(2, 5)),
        "slow": SoftmaxRegression(digits(3, 5), before=hold_back),
    }
    owners = people(stack, tmp_path, trainers, model="kills")
    start_run(stack, "kills-1", model="kills", rounds=len(VICTIMS), target=3, quorum=3)

    for number, victim in enumerate(VICTIMS, start=1):
        await_run(stack, "kills-1", partial(some_are_accepted, number))
        kill(stack, victim)
        released[number - 1].set()
    await_run(stack, "kills-1", lambda view: view.head == len(VICTIMS))
    kill(stack, "evaluator")

    results = [owner.next_result() for owner in owners]
    assert {(result.state, result.promoted) for result in results} == {("FINISHED", True)}
    assert check_every_round(stack, "kills-1") == 3 * len(VICTIMS)
    view = await_run(stack, "kills-1", lambda view: view.state == "FINISHED")
    assert [(one.round, one.attempt, one.state) for one in view.attempts] == [
        (number, 1, "COMMITTED") for number in range(1, len(VICTIMS) + 1)
    ]


def some_are_accepted(number: int, view: RunView) -> bool:
    """Return whether this round is open and has an accepted update, but not yet all of them."""
    return any(
        attempt.round == number and attempt.state == "OPEN" and "ACCEPTED" in attempt.updates
        for attempt in view.attempts
    )


def kill(stack: Stack, name: str) -> None:
    """SIGKILL a service; its supervisor starts it again, as Kubernetes would."""
    os.kill(stack.supervisor.pid(name), signal.SIGKILL)
