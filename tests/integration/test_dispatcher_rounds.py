"""The dispatcher as a process, against an emulator: from RunRequested on SNS to a finished run.

The clients, the aggregator and the evaluator are stand-ins that write the rows themselves.
"""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from rondo_local.processes import Supervisor
from tests.emulators import Aws
from tests.integration.dispatcher_stack import DispatcherStack, eventually
from tests.unit.rondo_dispatcher import stand_ins


@pytest.fixture
def stack(aws: Aws, tmp_path: Path) -> Iterator[DispatcherStack]:
    with Supervisor(tmp_path / "logs") as supervisor:
        made = DispatcherStack(aws, supervisor)
        made.start()
        yield made


def test_a_run_goes_from_its_request_on_sns_to_its_end(stack: DispatcherStack) -> None:
    stack.request("ann", "bob", "eve", rounds=2)

    for round_ in (1, 2):
        stack.accept_all(round_)
        stack.await_state("SEALED", round_)
        stack.commit(round_)
    stack.give_verdict()

    run = stack.await_run("FINISHED")
    assert (run.reason, run.active, stack.head()) == ("promoted as version 4", None, 2)
    eventually(lambda: stack.execution() == "SUCCEEDED", stack.execution)
    for round_ in (1, 2):
        row = stack.await_state("COMMITTED", round_)
        assert row.task_tokens == frozenset()
    assert stack.ports.run_store.active("round") == []
    assert stand_ins.outbox_is_empty(stack.ports.run_store)


def test_an_aborted_attempt_is_asked_for_again_and_the_second_makes_the_version(
    stack: DispatcherStack,
) -> None:
    stack.request("ann", "bob", deadline_seconds=1.0)
    stack.await_state("ABORTED", 1, 1)

    stack.accept_all(1, 2)
    stack.await_state("SEALED", 1, 2)
    stack.commit(1, 2)

    stack.give_verdict()
    eventually(lambda: stack.execution() == "SUCCEEDED", stack.execution)
    assert stack.head() == 1


def test_after_the_second_aborted_attempt_the_run_is_failed(stack: DispatcherStack) -> None:
    stack.request("ann", target=3, quorum=2, start_deadline_seconds=0.5)

    assert stack.await_run("FAILED").reason == (
        "round 1, attempt 2: not enough clients: 1 of 3 were there when the start deadline passed,"
        " and the quorum is 2"
    )
    eventually(lambda: stack.execution() == "FAILED", stack.execution)
    eventually(lambda: stack.ports.run_store.active("round") == [], lambda: "still in the index")


def test_the_state_machine_that_timed_out_asks_for_the_same_attempt_and_is_answered(
    stack: DispatcherStack,
) -> None:
    stack.shorten_timeout(1)
    stack.request("ann", "bob")

    eventually(
        lambda: len((stack.await_state("OPEN")).task_tokens) >= 2,
        lambda: f"{stack.row()} has one token",
    )

    stack.accept_all()
    stack.await_state("SEALED")
    stack.commit()
    stack.give_verdict()
    eventually(lambda: stack.execution() == "SUCCEEDED", stack.execution)
    assert stack.await_state("COMMITTED").task_tokens == frozenset()


def test_a_dispatcher_that_is_killed_at_every_stage_loses_nothing(stack: DispatcherStack) -> None:
    stack.kill()
    stack.request("ann", "bob", rounds=2)
    stack.await_state("OPEN")
    stack.kill()
    stack.accept_all()
    stack.await_state("SEALED")
    stack.kill()
    stack.commit()
    stack.await_state("OPEN", 2)
    stack.kill()
    stack.accept_all(2)
    stack.await_state("SEALED", 2)
    stack.commit(2)
    stack.kill()
    stack.give_verdict()

    eventually(lambda: stack.execution() == "SUCCEEDED", stack.execution)
    assert stack.head() == 2


def test_a_run_that_is_impossible_is_failed_and_a_malformed_one_dead_lettered(
    stack: DispatcherStack,
) -> None:
    names = stack.ports.names
    sqs = stack.ports.client("sqs")
    url = sqs.get_queue_url(QueueName=names.queue("dispatcher"))["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody='{"type": "RunRequested", "data": {"rounds": -1}}')
    stack.request("ann", strategy="magic")

    reason = stack.await_run("FAILED").reason
    assert (reason or "").startswith("unknown strategy 'magic'; known: adaptive-clipped-mean, ")
    dead = sqs.get_queue_url(QueueName=names.dead_letters("dispatcher"))["QueueUrl"]
    letters = eventually(
        lambda: sqs.receive_message(QueueUrl=dead, WaitTimeSeconds=1).get("Messages"),
        lambda: "no dead letter",
    )
    assert "rounds" in letters[0]["Body"]


def test_the_process_stops_on_sigterm_and_says_so(stack: DispatcherStack) -> None:
    eventually(lambda: '"started"' in stack.log(), stack.log)

    stack.kill(signal.SIGTERM)

    eventually(lambda: '"stopped"' in stack.log(), stack.log)
