"""A client of a FedBuff run: its round was sealed, and its update counts in a later one."""

from collections.abc import Callable

import httpx
import msgspec
import pytest
from rich.console import Console

from rondo import Invalid
from rondo.progress import PlainProgress
from rondo_core import client_wire
from rondo_core.client_wire import Entered
from rondo_core.model_spec import ModelSpec
from rondo_core.testing import ManualClock
from tests.unit.rondo.fake_gateway import UPLOAD, Connect, FakeGateway, Stopped, stop
from tests.unit.rondo.fake_rounds import Round, Run
from tests.unit.rondo.linear import CountingTrainer, line_trainer


class BufferingGateway(FakeGateway):
    """Enters what comes for a sealed attempt into the newest one, and accepts it there."""

    def __init__(self, spec: ModelSpec, clock: ManualClock) -> None:
        super().__init__(spec, clock)
        self.done: list[str | None] = []

    def _attempt(self, run_id: str, number: str, attempt: str) -> Round:
        found = super()._attempt(run_id, number, attempt)
        run = self.runs[run_id]
        reported = any(one.state != "DECLARED" for one in found.receipts.values())
        return found if found.open or reported else run.attempts[run.where]

    def _judged(self, run: Run, receipt: client_wire.Receipt) -> client_wire.Receipt:
        round_, attempt = run.where
        later = Entered(round=round_, attempt=attempt, staleness=round_ - receipt.round)
        entered = None if run.where == (receipt.round, receipt.attempt) else later
        return msgspec.structs.replace(receipt, state="ACCEPTED", entered=entered)

    def seal(self, run: Run, accepted: list[str] | None = None) -> None:
        del accepted  # under the keys of other attempts
        super().seal(run)

    def _work(self, request: httpx.Request) -> client_wire.Work:
        self.done.append(request.url.params.get("done"))
        return super()._work(request)


@pytest.fixture
def gateway(spec: ModelSpec, clock: ManualClock) -> BufferingGateway:
    return BufferingGateway(spec, clock)


def test_a_late_update_counts_in_a_later_round_and_the_table_says_in_which(
    connect: Connect, gateway: BufferingGateway, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway.start_run(rounds=3)
    gateway.late = {1}

    result = connect().train(trainer=line_trainer(), progress=PlainProgress(Console()))

    first = result.rounds[0]
    assert (first.round, first.verdict) == (1, "accepted")
    assert first.entered == Entered(round=2, attempt=1, staleness=1)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("round 1: accepted")
    assert lines[0].endswith("(entered round 2, staleness 1)")


def test_a_client_asks_for_no_work_of_the_round_that_its_late_update_counts_in(
    connect: Connect, gateway: BufferingGateway
) -> None:
    gateway.start_run(rounds=3)
    gateway.late = {1}

    result = connect().train(trainer=line_trainer(), progress=False)

    assert gateway.done[:2] == [None, "run-1/2/1"]
    assert [entry.round for entry in result.rounds] == [1, 3]


@pytest.mark.parametrize(
    ("ends", "entered", "rounds"),
    [
        (BufferingGateway.seal, Entered(round=2, attempt=1, staleness=1), [1, 3]),
        (BufferingGateway.abort, Entered(round=1, attempt=2, staleness=0), [1, 2, 3]),
    ],
    ids=["sealed", "given up"],
)
def test_an_update_whose_links_were_refused_until_its_attempt_was_over_still_counts(
    connect: Connect,
    gateway: BufferingGateway,
    ends: Callable[[FakeGateway, Run], None],
    entered: Entered,
    rounds: list[int],
) -> None:
    run = gateway.start_run(rounds=3)
    gateway.refuse_links(lambda: ends(gateway, run))
    trainer = CountingTrainer()

    result = connect().train(trainer=trainer, progress=False)

    assert [(one.round, one.verdict) for one in result.rounds] == [(r, "accepted") for r in rounds]
    assert result.rounds[0].entered == entered
    assert trainer.trained == len(gateway.updates) == len(rounds)


def test_a_client_that_was_killed_while_it_handed_in_late_sends_the_same_bytes(
    connect: Connect, gateway: BufferingGateway
) -> None:
    run = gateway.start_run(rounds=2)
    gateway.refuse_links(lambda: gateway.seal(run))
    trainer = CountingTrainer()
    gateway.fault(UPLOAD, stop)
    with pytest.raises(Stopped):
        connect().train(trainer=trainer, progress=False)

    result = connect().train(trainer=trainer, progress=False)

    assert trainer.trained == 1
    assert result.rounds[0].entered == Entered(round=2, attempt=1, staleness=1)


def test_links_that_are_refused_in_one_round_after_the_other_are_an_error_in_the_end(
    connect: Connect, gateway: BufferingGateway
) -> None:
    run = gateway.start_run(rounds=9)
    for _ in range(9):
        gateway.refuse_links(lambda: gateway.seal(run))
    trainer = CountingTrainer()

    with pytest.raises(Invalid, match="expired"):
        connect().train(trainer=trainer, progress=False)

    assert (trainer.trained, gateway.count(UPLOAD)) == (1, 9)
