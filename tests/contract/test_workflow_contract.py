"""The suite that every ``Workflow`` passes: the whole state machine, event by event."""

import msgspec
import pytest

from rondo_core.errors import Conflict
from rondo_core.events import EvaluationRequested, RoundRequested, RunProgress
from rondo_core.workflow import ROUND_ABORTED
from tests.contract.harness import Harness, await_event, settle


@pytest.fixture
def run(ports: Harness, name: str) -> RunProgress:
    """A started run of two rounds."""
    progress = RunProgress(run_id=name, rounds=2, round=1, attempt=1)
    ports.workflow.start(progress)
    return progress


def next_round(ports: Harness, run_id: str) -> RoundRequested:
    event: RoundRequested = await_event(ports.source("dispatcher"), run_id, RoundRequested)
    return event


def verdict(ports: Harness, run_id: str) -> EvaluationRequested:
    event: EvaluationRequested = await_event(ports.source("evaluator"), run_id, EvaluationRequested)
    return event


def test_start_asks_for_the_first_round(ports: Harness, run: RunProgress) -> None:
    event = next_round(ports, run.run_id)

    assert event.state == run
    assert event.task_token
    assert ports.status(run.run_id) == "RUNNING"


def test_run_goes_round_after_round_to_the_verdict_and_succeeds(
    ports: Harness, run: RunProgress
) -> None:
    first = next_round(ports, run.run_id)
    ports.workflow.succeed(first.task_token, {"version": 1})
    second = next_round(ports, run.run_id)
    ports.workflow.succeed(second.task_token, {})
    last = verdict(ports, run.run_id)
    ports.workflow.succeed(last.task_token, {"promoted": True})

    assert second.state == last.state == msgspec.structs.replace(run, round=2)
    assert len({first.task_token, second.task_token, last.task_token}) == 3
    settle(lambda: ports.status(run.run_id), "SUCCEEDED")


def test_aborted_attempt_is_followed_by_the_next(ports: Harness, run: RunProgress) -> None:
    first = next_round(ports, run.run_id)

    ports.workflow.fail(first.task_token, error=ROUND_ABORTED, cause="below quorum")

    assert next_round(ports, run.run_id).state == msgspec.structs.replace(run, attempt=2)


def test_round_after_a_retried_one_starts_with_its_first_attempt(
    ports: Harness, run: RunProgress
) -> None:
    first = next_round(ports, run.run_id)
    ports.workflow.fail(first.task_token, error=ROUND_ABORTED, cause="below quorum")
    second = next_round(ports, run.run_id)

    ports.workflow.succeed(second.task_token, {})

    assert next_round(ports, run.run_id).state == msgspec.structs.replace(run, round=2)


def test_run_fails_when_the_last_attempt_is_aborted(ports: Harness, run: RunProgress) -> None:
    for _ in range(2):
        event = next_round(ports, run.run_id)
        ports.workflow.fail(event.task_token, error=ROUND_ABORTED, cause="below quorum")

    settle(lambda: ports.status(run.run_id), "FAILED")


@pytest.mark.parametrize("phase", ["round", "verdict"])
def test_error_that_nobody_catches_fails_the_run(ports: Harness, name: str, phase: str) -> None:
    ports.workflow.start(RunProgress(run_id=name, rounds=1, round=1, attempt=1))
    token = next_round(ports, name).task_token
    if phase == "verdict":
        ports.workflow.succeed(token, {})
        token = verdict(ports, name).task_token

    ports.workflow.fail(token, error="Surprise", cause="")

    settle(lambda: ports.status(name), "FAILED")


def test_start_again_with_the_same_input_changes_nothing(ports: Harness, run: RunProgress) -> None:
    token = next_round(ports, run.run_id).task_token

    ports.workflow.start(run)

    ports.workflow.succeed(token, {})
    assert next_round(ports, run.run_id).state.round == 2


def test_start_again_after_the_run_ended_changes_nothing(ports: Harness, name: str) -> None:
    progress = RunProgress(run_id=name, rounds=1, round=1, attempt=1)
    ports.workflow.start(progress)
    ports.workflow.fail(next_round(ports, name).task_token, error="Surprise", cause="")
    settle(lambda: ports.status(name), "FAILED")

    ports.workflow.start(progress)

    assert ports.status(name) == "FAILED"


def test_start_again_with_another_input_is_a_conflict(ports: Harness, run: RunProgress) -> None:
    with pytest.raises(Conflict, match=run.run_id):
        ports.workflow.start(msgspec.structs.replace(run, rounds=9))


def test_token_that_was_answered_changes_nothing_more(ports: Harness, run: RunProgress) -> None:
    first = next_round(ports, run.run_id)
    ports.workflow.succeed(first.task_token, {})
    second = next_round(ports, run.run_id)

    ports.workflow.succeed(first.task_token, {})
    ports.workflow.fail(first.task_token, error=ROUND_ABORTED, cause="late")

    ports.workflow.succeed(second.task_token, {})
    assert verdict(ports, run.run_id).state.round == 2


@pytest.mark.parametrize("token", ["never-given-out", "x" * 1024])
def test_token_that_never_was_is_not_an_error(ports: Harness, token: str) -> None:
    ports.workflow.succeed(token, {})
    ports.workflow.fail(token, error=ROUND_ABORTED, cause="")


def test_token_of_an_ended_run_is_not_an_error(ports: Harness, run: RunProgress) -> None:
    token = next_round(ports, run.run_id).task_token
    ports.workflow.fail(token, error="Surprise", cause="")
    settle(lambda: ports.status(run.run_id), "FAILED")

    ports.workflow.succeed(token, {})

    assert ports.status(run.run_id) == "FAILED"


def test_long_error_and_cause_are_cut(ports: Harness, run: RunProgress) -> None:
    token = next_round(ports, run.run_id).task_token

    ports.workflow.fail(token, error="E" * 1000, cause="c" * 100_000)

    settle(lambda: ports.status(run.run_id), "FAILED")


def test_round_that_nobody_answers_is_asked_for_again_with_a_fresh_token(
    ports: Harness, name: str
) -> None:
    progress = RunProgress(run_id=name, rounds=1, round=1, attempt=1)
    ports.hasty_workflow.start(progress)
    first = next_round(ports, name)

    ports.time_out(name)

    again = next_round(ports, name)
    assert (again.state, again.task_token != first.task_token) == (progress, True)
    ports.hasty_workflow.succeed(first.task_token, {})
    ports.hasty_workflow.succeed(again.task_token, {})
    assert verdict(ports, name).state == progress


def test_verdict_that_nobody_gives_is_asked_for_again(ports: Harness, name: str) -> None:
    progress = RunProgress(run_id=name, rounds=1, round=1, attempt=1)
    ports.hasty_workflow.start(progress)
    ports.hasty_workflow.succeed(next_round(ports, name).task_token, {})
    first = verdict(ports, name)

    ports.time_out(name)

    again = verdict(ports, name)
    assert (again.state, again.task_token != first.task_token) == (progress, True)
    ports.hasty_workflow.succeed(again.task_token, {})
    settle(lambda: ports.status(name), "SUCCEEDED")
