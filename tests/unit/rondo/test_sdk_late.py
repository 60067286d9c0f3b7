"""A client of a FedBuff run: its round was sealed, and its update counts in a later one."""

import httpx
import msgspec
import pytest
from rich.console import Console

from rondo.progress import PlainProgress
from rondo_core import client_wire
from rondo_core.client_wire import Entered
from rondo_core.model_spec import ModelSpec
from rondo_core.testing import ManualClock
from tests.unit.rondo.fake_gateway import Connect, FakeGateway
from tests.unit.rondo.fake_rounds import Round, Run
from tests.unit.rondo.linear import line_trainer


class BufferingGateway(FakeGateway):
    """Enters what comes for a sealed attempt into the newest one, and accepts it there."""

    def __init__(self, spec: ModelSpec, clock: ManualClock) -> None:
        super().__init__(spec, clock)
        self.done: list[str | None] = []

    def _attempt(self, run_id: str, number: str, attempt: str) -> Round:
        found = super()._attempt(run_id, number, attempt)
        run = self.runs[run_id]
        return found if found.open or found.receipts else run.attempts[run.where]

    def _judged(self, run: Run, receipt: client_wire.Receipt) -> client_wire.Receipt:
        later = Entered(round=run.where[0], attempt=1, staleness=run.where[0] - receipt.round)
        entered = later if later.staleness else None
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
