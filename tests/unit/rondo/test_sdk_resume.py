"""A client that is killed at any point goes on where it was."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from rondo import Conflict
from rondo.errors import Unauthorized
from tests.unit.rondo.fake_gateway import Connect, FakeGateway, Stopped, stop
from tests.unit.rondo.linear import CountingTrainer, line_trainer

REPORT = r"POST .*/report"


@pytest.mark.parametrize(
    "pattern",
    [r"PUT .*/update$", r"PUT /models/updates/.*", REPORT, r"GET .*/update$"],
    ids=["declaring", "uploading", "reporting", "waiting"],
)
def test_a_client_that_was_killed_sends_the_same_bytes_without_training_again(
    connect: Connect, gateway: FakeGateway, pattern: str
) -> None:
    gateway.start_run(rounds=2)
    gateway.fault(pattern, stop)
    first, second = CountingTrainer(), CountingTrainer()
    with pytest.raises(Stopped):
        connect().train(trainer=first, progress=False)

    result = connect().train(trainer=second, progress=False)

    assert (first.trained, second.trained) == (1, 1)
    assert [(entry.round, entry.verdict) for entry in result.rounds] == [
        (1, "accepted"),
        (2, "accepted"),
    ]
    assert len(gateway.updates) == 2


def test_a_client_that_was_killed_while_training_trains_again(
    connect: Connect, gateway: FakeGateway
) -> None:
    class Killed(CountingTrainer):
        def train(self, weights: Mapping[str, Any], task: Any) -> tuple[Mapping[str, Any], int]:
            del weights, task
            raise Stopped

    gateway.start_run(rounds=1)
    with pytest.raises(Stopped):
        connect().train(trainer=Killed(), progress=False)
    trainer = CountingTrainer()

    result = connect().train(trainer=trainer, progress=False)

    assert trainer.trained == 1
    assert result.rounds[0].verdict == "accepted"
    assert gateway.count("GET /models/versions/") == 1, "the base version was still on disk"


def test_a_half_written_update_is_made_again(
    connect: Connect, gateway: FakeGateway, home: Path
) -> None:
    gateway.start_run(rounds=1)
    gateway.fault(r"PUT .*/update$", stop)
    with pytest.raises(Stopped):
        connect().train(trainer=line_trainer(), progress=False)
    (file,) = home.rglob("update.safetensors")
    file.write_bytes(file.read_bytes()[:-1])
    trainer = CountingTrainer()

    result = connect().train(trainer=trainer, progress=False)

    assert trainer.trained == 1
    assert result.rounds[0].verdict == "accepted"


def test_a_run_that_ended_while_the_client_was_down_is_reported_as_over(
    connect: Connect, gateway: FakeGateway
) -> None:
    run = gateway.start_run(rounds=2)
    gateway.fault(r"PUT .*/update$", stop)
    with pytest.raises(Stopped):
        connect().train(trainer=line_trainer(), progress=False)
    run.state, run.reason = "CANCELLED", "the operator cancelled it"
    run.attempts[run.where].open = False

    result = connect().train(trainer=line_trainer(), progress=False)

    assert (result.state, result.reason) == ("CANCELLED", "the operator cancelled it")
    assert [entry.verdict for entry in result.rounds] == ["late"]


def test_an_update_that_the_gateway_refuses_for_good_is_dropped_and_told_of(
    connect: Connect, gateway: FakeGateway, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = gateway.start_run(rounds=2)
    gateway.fault(r"PUT .*/update$", stop)
    with pytest.raises(Stopped):
        connect().train(trainer=CountingTrainer(), progress=False)
    run.divides, run.state, run.reason = True, "CANCELLED", "the operator cancelled it"
    gateway.fault(r"GET /v1/work", stop)

    with pytest.raises(Stopped):
        connect().train(trainer=CountingTrainer())
    left = list(home.glob("**/updates/*"))
    result = connect().train(trainer=CountingTrainer(), progress=False)

    assert left == []
    assert "round 1: rejected" in (told := capsys.readouterr().out)
    assert "needs the number of local steps (missing-steps" in told
    assert (result.state, [one.verdict for one in result.rounds]) == ("CANCELLED", ["rejected"])
    assert gateway.count(r"PUT .*/update$") == 2


def test_an_update_is_kept_while_it_is_the_client_that_the_gateway_does_not_know(
    connect: Connect, gateway: FakeGateway, home: Path
) -> None:
    gateway.start_run(rounds=1)
    gateway.fault(r"PUT .*/update$", stop)
    with pytest.raises(Stopped):
        connect().train(trainer=line_trainer(), progress=False)
    gateway.fail(r"PUT .*/update$", 403, "revoked")

    with pytest.raises(Unauthorized):
        connect().train(trainer=line_trainer(), progress=False)

    assert len(list(home.rglob("update.safetensors"))) == 1


def test_a_run_that_the_gateway_forgot_does_not_keep_the_client_from_the_next(
    connect: Connect, gateway: FakeGateway
) -> None:
    gateway.start_run(rounds=1)
    gateway.fault(r"PUT .*/update$", stop)
    with pytest.raises(Stopped):
        connect().train(trainer=line_trainer(), progress=False)
    del gateway.runs["run-1"]
    gateway.start_run(rounds=1, run_id="run-2")

    result = connect().train(trainer=line_trainer(), progress=False)

    assert (result.run_id, result.state) == ("run-2", "FINISHED")
    assert [entry.round for entry in result.rounds] == [1]


def test_an_update_that_other_bytes_of_this_client_came_before_is_judged_by_those(
    connect: Connect, gateway: FakeGateway, home: Path
) -> None:
    gateway.start_run(rounds=1)
    gateway.fault(r"GET .*/update$", stop)
    with pytest.raises(Stopped):
        connect().train(trainer=line_trainer(), progress=False)
    (file,) = home.rglob("declaration.json")
    file.unlink()
    gateway.runs["run-1"].attempts[1, 1].receipts.clear()
    gateway.fail(r"PUT .*/update$", 409, "already-reported")
    gateway.fault(r"GET .*/update$", lambda _: accepted_elsewhere())

    with pytest.raises(AssertionError, match="never comes"):
        connect().train(trainer=line_trainer(), progress=False)

    assert gateway.count(r"GET .*/update$") == 2


def accepted_elsewhere() -> httpx.Response:
    receipt = {
        "client_id": "north-1",
        "run_id": "run-1",
        "round": 1,
        "attempt": 1,
        "sha256": "0" * 64,
        "state": "ACCEPTED",
    }
    return httpx.Response(200, json=receipt)


def test_nothing_is_left_on_disk_but_the_newest_version_when_a_run_is_over(
    connect: Connect, gateway: FakeGateway, home: Path
) -> None:
    gateway.start_run(rounds=3)

    connect().train(trainer=line_trainer(), progress=False)

    assert sorted(path.name for path in home.rglob("*") if path.is_file())[1:] == [
        "identity.json",
        "key.pem",
        "lock",
        "run.json",
    ]
    assert len(list(home.rglob("*.safetensors"))) == 1


def test_two_programs_do_not_train_as_one_client(connect: Connect, gateway: FakeGateway) -> None:
    gateway.start_run(rounds=1)
    other = connect()

    class Nosy(CountingTrainer):
        def train(self, weights: Mapping[str, Any], task: Any) -> tuple[Mapping[str, Any], int]:
            with pytest.raises(Conflict, match="another program is training"):
                other.train(trainer=line_trainer(), progress=False)
            return super().train(weights, task)

    result = connect().train(trainer=Nosy(), progress=False)

    assert result.state == "FINISHED"
