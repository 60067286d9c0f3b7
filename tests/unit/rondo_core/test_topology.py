import json
from typing import Any

import pytest

from rondo_core.events import EVENT_TYPES
from rondo_core.topology import (
    QUEUES,
    Names,
    filter_policy,
    queue_of,
    state_machine_definition,
)

MACHINE: dict[str, Any] = json.loads(state_machine_definition())
TASKS = {name: state for name, state in MACHINE["States"].items() if state["Type"] == "Task"}


def test_everything_is_called_by_its_prefix() -> None:
    names = Names("mine")

    assert (names.topic, names.table, names.bucket, names.state_machine) == (
        "mine-events",
        "mine-table",
        "mine-models",
        "mine-run",
    )
    assert (names.queue("evaluator"), names.dead_letters("evaluator")) == (
        "mine-evaluator",
        "mine-evaluator-dead-letters",
    )
    assert Names().topic == "rondo-events"


def test_request_goes_to_exactly_one_service() -> None:
    heard = [kind.__name__ for queue in QUEUES for kind in queue.receives]
    requests = [name for name in heard if name.endswith("Requested")]

    assert sorted(requests) == [
        "BatchRequested",
        "EvaluationRequested",
        "RoundRequested",
        "RunRequested",
    ]


def test_what_a_dead_process_held_comes_again_within_half_a_minute() -> None:
    assert {queue.service: queue.visibility_seconds for queue in QUEUES} == {
        "dispatcher": 30,
        "aggregator": 30,
        "evaluator": 30,
        "batch": 30,
    }


def test_queue_is_found_by_its_service() -> None:
    assert [queue_of(queue.service) for queue in QUEUES] == list(QUEUES)
    with pytest.raises(KeyError, match="gateway"):
        queue_of("gateway")


def test_filter_lets_through_what_the_queue_receives() -> None:
    policies = {queue.service: filter_policy(queue) for queue in QUEUES}

    for queue in QUEUES:
        words = {rule for rule in policies[queue.service]["type"] if isinstance(rule, str)}
        assert words == {kind.__name__ for kind in queue.receives}
    assert set(policies) == {"dispatcher", "aggregator", "evaluator", "batch"}


def test_exactly_one_queue_takes_what_nobody_knows() -> None:
    (stray,) = [queue for queue in QUEUES if queue.takes_strays]

    rules = filter_policy(stray)["type"]
    assert {"anything-but": list(EVENT_TYPES)} in rules
    assert {"exists": False} in rules


def test_state_machine_publishes_the_two_requests_that_it_waits_for() -> None:
    published = {task["Parameters"]["Message"]["type"] for task in TASKS.values()}

    assert published == {"RoundRequested", "EvaluationRequested"}
    for task in TASKS.values():
        assert task["Parameters"]["TopicArn"] == "${TopicArn}"
        assert task["Resource"].endswith(".waitForTaskToken")


@pytest.mark.parametrize("name", TASKS)
def test_task_uses_only_what_every_emulator_does_right(name: str) -> None:
    task = TASKS[name]

    assert isinstance(task["TimeoutSeconds"], int)
    assert "Retry" not in task
    assert "HeartbeatSeconds" not in task
    caught = {error for catcher in task["Catch"] for error in catcher["ErrorEquals"]}
    assert {"States.Timeout", "States.HeartbeatTimeout"} <= caught
    # LocalStack takes a Catch that leads back to its own state for a success.
    assert name not in {catcher["Next"] for catcher in task["Catch"]}


def test_every_state_is_reached_and_leads_somewhere() -> None:
    targets = {MACHINE["StartAt"]}
    for state in MACHINE["States"].values():
        targets |= {state[key] for key in ("Next", "Default") if key in state}
        targets |= {one["Next"] for one in (*state.get("Catch", ()), *state.get("Choices", ()))}

    assert targets == set(MACHINE["States"])
    assert "JSONata" not in state_machine_definition()
