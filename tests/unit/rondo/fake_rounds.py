"""What stands behind the fake gateway: runs, rounds, verdicts and versions, as plain values."""

from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np

from rondo_core import client_wire
from rondo_core.encodings import decode, form_of
from rondo_core.encodings.names import FLOAT32
from rondo_core.errors import UpdateInvalid
from rondo_core.initial_weights import initial_weights, layout_of_spec
from rondo_core.model_spec import ModelSpec
from rondo_core.model_store import update_key
from rondo_core.rows import RunState
from rondo_core.testing import MemoryModelStore
from rondo_core.update_check import validate_update
from rondo_core.weights import Float32Array

__all__ = ["FakeRounds", "Round", "Run"]

ATTEMPTS = 2


@dataclass
class Round:
    """One attempt: what its clients declared, and how that stands."""

    open: bool = True
    committed: bool = False
    receipts: dict[str, client_wire.Receipt] = field(default_factory=dict)
    declared: dict[str, client_wire.Declaration] = field(default_factory=dict)


@dataclass
class Run:
    """A run, and its versions with what belongs to them.

    Attributes:
        divides: whether its strategy goes by the steps of an update.
        population: of a SCAFFOLD run; 0 for any other.
        encoding: of its updates.
        controls: the server's control variate beside each version.
    """

    run_id: str
    rounds: int
    training: dict[str, Any]
    versions: list[Float32Array]
    clients: tuple[str, ...] = ()
    state: RunState = "RUNNING"
    reason: str | None = None
    where: tuple[int, int] = (1, 1)
    attempts: dict[tuple[int, int], Round] = field(default_factory=lambda: {(1, 1): Round()})
    curve: dict[str, float] = field(default_factory=dict)
    divides: bool = False
    population: int = 0
    encoding: str = FLOAT32
    controls: list[Float32Array] = field(default_factory=list)

    @property
    def needs_steps(self) -> bool:
        return self.divides or self.population > 0


class FakeRounds:
    """Dispatcher and aggregator in one: judges what was reported, commits means, opens rounds.

    Attributes:
        refuse: (round, attempt) -> the code with which its updates are rejected.
        gives_up: the attempts that are aborted when all their updates have been accepted.
    """

    def __init__(self, spec: ModelSpec, store: MemoryModelStore) -> None:
        self.spec = spec
        self.layout = layout_of_spec(spec)
        self.store = store
        self.runs: dict[str, Run] = {}
        self.refuse: dict[tuple[int, int], str] = {}
        self.gives_up: set[tuple[int, int]] = set()

    def start_run(self, rounds: int, run_id: str = "run-1", **training: object) -> Run:
        run = self.runs[run_id] = Run(run_id, rounds, training, [initial_weights(self.spec)])
        run.controls.append(np.zeros(self.layout.size, np.float32))
        return run

    def judge_all(self) -> None:
        for run in self.runs.values():
            receipts = run.attempts[run.where].receipts
            for client, receipt in receipts.items():
                if receipt.state == "REPORTED":
                    receipts[client] = self._judged(run, receipt)
            judged = {receipt.state for receipt in receipts.values()}
            everyone = bool(receipts) and len(receipts) == len(run.clients)
            if run.state == "RUNNING" and everyone and judged <= {"ACCEPTED", "REJECTED"}:
                self._settle(run)

    def _judged(self, run: Run, receipt: client_wire.Receipt) -> client_wire.Receipt:
        declared = run.attempts[run.where].declared[receipt.client_id]
        try:
            validate_update(
                self.store.get(
                    update_key(run.run_id, *run.where, receipt.client_id, declared.sha256)
                ),
                form=form_of(self.layout, run.encoding),
                size=declared.size,
                sha256=declared.sha256,
            )
        except UpdateInvalid as exc:
            return msgspec.structs.replace(
                receipt, state="REJECTED", code=exc.code, reason=exc.rule
            )
        if code := self.refuse.get(run.where):
            return msgspec.structs.replace(
                receipt, state="REJECTED", code=code, reason="as scripted"
            )
        return msgspec.structs.replace(receipt, state="ACCEPTED")

    def _settle(self, run: Run) -> None:
        round_ = run.attempts[run.where]
        accepted = [who for who, found in round_.receipts.items() if found.state == "ACCEPTED"]
        if accepted and run.where not in self.gives_up:
            self.seal(run, accepted)
        elif run.where[1] == ATTEMPTS:
            run.state, run.reason = "FAILED", f"round {run.where[0]}: no update was accepted"
        elif round_.open:
            self.abort(run)

    def abort(self, run: Run) -> None:
        """Give an attempt up and open the next one."""
        run.attempts[run.where].open = False
        run.where = (run.where[0], run.where[1] + 1)
        run.attempts[run.where] = Round()

    def seal(self, run: Run, accepted: list[str] | None = None) -> None:
        """Commit the mean by examples of the accepted updates; without any, the base again."""
        round_ = run.attempts[run.where]
        round_.open, round_.committed = False, True
        control = run.controls[-1].astype(np.float64)
        new = run.versions[-1].astype(np.float64)
        total = sum(round_.declared[client].examples for client in accepted or ())
        for client in accepted or ():
            declared = round_.declared[client]
            data = self.store.get(update_key(run.run_id, *run.where, client, declared.sha256))
            delta = decode(data, self.layout, run.encoding)
            new += delta * (declared.examples / total)
            if run.population:
                assert declared.steps is not None
                control += (-run.controls[-1] - delta / declared.steps) / run.population
            run.curve = declared.metrics
        run.versions.append(new.astype(np.float32))
        run.controls.append(control.astype(np.float32))
        if run.where[0] == run.rounds:
            run.state, run.reason = "FINISHED", "promoted as version 1"
        else:
            run.where = (run.where[0] + 1, 1)
            run.attempts[run.where] = Round()
