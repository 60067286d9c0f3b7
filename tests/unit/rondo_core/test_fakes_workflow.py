"""What the fake does beyond its port; the port itself is held to the contract suite."""

from datetime import UTC, datetime

import pytest

from rondo_core.events import RoundRequested, RunProgress
from rondo_core.testing import ManualClock, MemoryBus, MemoryWorkflow
from rondo_core.workflow import ROUND_ABORTED

PROGRESS = RunProgress(run_id="r", rounds=1, round=1, attempt=1)


@pytest.fixture
def bus() -> MemoryBus:
    return MemoryBus()


@pytest.fixture
def workflow(bus: MemoryBus) -> MemoryWorkflow:
    return MemoryWorkflow(bus, ManualClock(datetime(2026, 5, 1, tzinfo=UTC)))


def test_event_is_out_when_start_returns_and_carries_the_clocks_time(
    bus: MemoryBus, workflow: MemoryWorkflow
) -> None:
    workflow.start(PROGRESS)

    (event,) = bus.published
    assert isinstance(event, RoundRequested)
    assert event.occurred_at == datetime(2026, 5, 1, tzinfo=UTC)
    assert event.task_token == workflow.token("r")


def test_run_that_was_never_started_has_no_status(workflow: MemoryWorkflow) -> None:
    assert workflow.status("r") is None


def test_run_that_is_over_waits_for_no_token(workflow: MemoryWorkflow) -> None:
    workflow.start(PROGRESS)
    token = workflow.token("r")
    assert token is not None

    workflow.fail(token, error="Surprise", cause="")

    assert (workflow.status("r"), workflow.token("r")) == ("FAILED", None)


def test_output_that_is_not_json_is_a_type_error(workflow: MemoryWorkflow) -> None:
    workflow.start(PROGRESS)
    token = workflow.token("r")
    assert token is not None

    with pytest.raises(TypeError):
        workflow.succeed(token, {"at": datetime(2026, 1, 1, tzinfo=UTC)})

    assert workflow.token("r") == token


def test_runs_do_not_touch_one_another(bus: MemoryBus, workflow: MemoryWorkflow) -> None:
    workflow.start(PROGRESS)
    workflow.start(RunProgress(run_id="q", rounds=1, round=1, attempt=1))
    token = workflow.token("r")
    assert token is not None

    workflow.fail(token, error=ROUND_ABORTED, cause="")

    attempts = [(e.run_id, e.state.attempt) for e in bus.published if isinstance(e, RoundRequested)]
    assert attempts == [("r", 1), ("q", 1), ("r", 2)]


def test_timed_out_task_is_asked_for_again(bus: MemoryBus, workflow: MemoryWorkflow) -> None:
    workflow.start(PROGRESS)
    first = workflow.token("r")

    workflow.time_out("r")

    assert workflow.token("r") not in {first, None}
    assert len(bus.published) == 2


def test_state_machine_that_the_fake_does_not_understand_is_a_key_error(
    bus: MemoryBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = '{"StartAt": "Wait", "States": {"Wait": {"Type": "Wait", "Seconds": 1}}}'
    monkeypatch.setattr("rondo_core.testing.workflow.state_machine_definition", lambda: machine)

    with pytest.raises(KeyError, match="Wait"):
        MemoryWorkflow(bus).start(PROGRESS)
