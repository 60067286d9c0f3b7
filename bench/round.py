"""Seconds a round takes when nobody trains: ten clients, 1.2 million parameters, the whole loop.

Every call is real: SNS, SQS, DynamoDB, S3 and Step Functions of the emulator, HTTP to the gateway,
Celery on Redis. The clients send their base version back plus a constant. Written to
``build/bench/round.json``; the phases are read from the times in the rows. Beside the clock stands
the processor time of every program, and of whatever else ran on the machine meanwhile.

``python -m bench.round [ministack|localstack ...] [--rounds N] [--clients N]``
"""

import argparse
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

import rondo
from bench import machine
from bench.cpu import Usage, usage
from rondo.trainer import RoundTask, Weights
from rondo_core.aws import connect
from rondo_core.keys import UPDATE_PREFIX, attempt_pk, head_key, round_key
from rondo_core.rows import HeadRow, RoundRow, UpdateRow, from_item
from rondo_core.run_store import RunStore
from rondo_local.emulators import AwsName
from rondo_local.environments import checkout
from rondo_local.stack import Plan, Stack, running

SPEC = Path(__file__).parents[1] / "examples" / "mnist-cnn" / "model.json"
TARGET_SECONDS = {"ministack": 1.0, "localstack": 2.0}
WARM_UP_ROUNDS = 2
PHASES = {
    "open": "last commit → state machine → round open",
    "declare": "open → last client has declared its update",
    "upload": "last declaration → last upload reported",
    "judge": "last report → last update accepted, round sealed",
    "combine": "sealed → combined, committed",
}


class DoNothing:
    """A trainer that costs nothing: what is measured is the loop."""

    def evaluate(self, weights: Weights) -> Mapping[str, float]:
        """Measure nothing on one example."""
        del weights
        return {"loss": 1.0, "examples": 1}

    def train(self, weights: Weights, task: RoundTask) -> tuple[Weights, int]:
        """Return the weights, a little larger."""
        shift = np.float32(1e-4 * (1 + task.seed % 7))
        return {name: array + shift for name, array in weights.items()}, 1


@dataclass(frozen=True, slots=True)
class RoundTimes:
    """When things happened in one round; all in UTC."""

    before: datetime
    opened: datetime
    declared: datetime
    reported: datetime
    sealed: datetime
    ended: datetime

    def phases(self) -> dict[str, float]:
        """Return phase -> seconds; they add up to the round's length."""
        marks = [
            self.before, self.opened, self.declared, self.reported, self.sealed, self.ended,
        ]  # fmt: skip
        seconds = [(after - before).total_seconds() for before, after in pairwise(marks)]
        return dict(zip(PHASES, seconds, strict=True))


@dataclass(frozen=True, slots=True)
class Measured:
    """What a run cost, warm-up left out.

    Attributes:
        times: of each round.
        cpu: program -> processor seconds a round; ``others`` is what else this machine did.
        wall: seconds a round, on average.
    """

    times: list[RoundTimes]
    cpu: dict[str, float]
    wall: float


def measure(name: AwsName, *, clients: int, rounds: int) -> Measured:
    """Run one run on one emulator."""
    with tempfile.TemporaryDirectory() as folder:
        plan = Plan(
            folder=Path(folder), build_folder=checkout() / "build", aws=name, evaluator=False
        )
        with running(plan) as stack:
            run_id, before, after = _run(
                stack, Path(folder), clients=clients, rounds=rounds + WARM_UP_ROUNDS
            )
            store = connect(stack.settings).run_store
            return Measured(
                _times(store, run_id, rounds + WARM_UP_ROUNDS)[WARM_UP_ROUNDS:],
                after.since(before, rounds),
                round((after.wall - before.wall) / rounds, 3),
            )


def _run(stack: Stack, folder: Path, *, clients: int, rounds: int) -> tuple[str, Usage, Usage]:
    operator = rondo.Operator(stack.gateway_url, stack.operator_token)
    operator.register_model(SPEC, np.zeros((1, 28, 28, 1), np.float32), ["0"])
    invites = operator.invites("mnist-cnn", clients)
    federations = [
        rondo.connect(
            stack.gateway_url, invite=invite, name=f"client-{n}", home=folder / f"home-{n}"
        )
        for n, invite in enumerate(invites)
    ]
    run_id = operator.start_run("mnist-cnn", rounds=rounds, target=clients, quorum=clients)
    for federation in federations:
        join = partial(federation.train, trainer=DoNothing(), progress=False)
        threading.Thread(target=join, daemon=True).start()  # the run ends with the stack
    with closing(connect(stack.settings)) as ports:
        before = _usage_at(stack, ports.run_store, run_id, WARM_UP_ROUNDS)
        return run_id, before, _usage_at(stack, ports.run_store, run_id, rounds)


def _usage_at(stack: Stack, store: RunStore, run_id: str, version: int) -> Usage:
    """Wait for a version, asking for nothing but one row, and read the counters."""
    while (row := store.get(head_key(run_id))) is None or from_item(row, HeadRow).version < version:
        time.sleep(1.0)  # each look costs the emulator what is measured
    programs = (stack.aws.name, "redis", *stack.urls)
    return usage({name: stack.supervisor.pid(name) for name in programs})


def _times(store: RunStore, run_id: str, rounds: int) -> list[RoundTimes]:
    times: list[RoundTimes] = []
    before: datetime | None = None
    for number in range(1, rounds + 1):
        row = from_item(store.get(round_key(run_id, number, 1)) or {}, RoundRow)
        items = store.query(attempt_pk(run_id, number, 1), UPDATE_PREFIX)
        updates = [from_item(item, UpdateRow) for item in items]
        if not (row.opened_at and row.sealed_at and row.ended_at):
            raise SystemExit(f"round {number} is {row.state}: {row.reason}")
        times.append(
            RoundTimes(
                before=before or row.opened_at,
                opened=row.opened_at,
                declared=max(update.declared_at for update in updates),
                reported=max(update.reported_at or row.sealed_at for update in updates),
                sealed=row.sealed_at,
                ended=row.ended_at,
            )
        )
        before = row.ended_at
    return times


def summary(measured: Measured) -> dict[str, float]:
    """Return the median length of a round, and of each phase."""
    times = measured.times
    lengths = [(one.ended - one.before).total_seconds() for one in times]
    phases = {name: statistics.median(one.phases()[name] for one in times) for name in PHASES}
    return {
        "round": round(statistics.median(lengths), 3),
        "fastest": round(min(lengths), 3),
        "slowest": round(max(lengths), 3),
        **{name: round(seconds, 3) for name, seconds in phases.items()},
    }


def main() -> int:
    """Measure, print the table, write the file; 1 when a target was missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("aws", nargs="*", default=["ministack", "localstack"])
    parser.add_argument("--clients", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=15)
    asked = parser.parse_args()
    measured = {
        name: measure(name, clients=asked.clients, rounds=asked.rounds) for name in asked.aws
    }
    results = {name: summary(one) for name, one in measured.items()}
    _print(results, asked.clients)
    _print_cpu(measured)
    _write(results, measured, asked)
    missed = [name for name, seconds in results.items() if seconds["round"] > TARGET_SECONDS[name]]
    if missed:
        print(f"over the target: {', '.join(missed)}", file=sys.stderr)
    return 1 if missed else 0


def _print(results: dict[str, dict[str, float]], clients: int) -> None:
    title = f"one round, {clients} clients × 1.2 M parameters, median seconds"
    table = Table("", *results, title=title)
    for name in ("round", "fastest", "slowest", *PHASES):
        label = f"{name}: {PHASES[name]}" if name in PHASES else name
        table.add_row(label, *(f"{seconds[name]:.3f}" for seconds in results.values()))
    Console(width=110).print(table)


def _print_cpu(measured: Mapping[str, Measured]) -> None:
    for name, one in measured.items():
        table = Table("", "seconds", title=f"processor seconds a round on {name}")
        for program, seconds in sorted(one.cpu.items(), key=lambda item: -item[1]):
            table.add_row(program, f"{seconds:.3f}")
        Console(width=110).print(table)


def _write(
    results: dict[str, dict[str, float]],
    measured: Mapping[str, Measured],
    asked: argparse.Namespace,
) -> None:
    machine.write_report(
        "round",
        machine.versions("boto3", "celery", "numpy", "redis", "uvicorn"),
        {
            "clients": asked.clients,
            "rounds": asked.rounds,
            "parameters": 1_199_882,
            "median_seconds": results,
            "cpu_seconds": {name: one.cpu for name, one in measured.items()},
            "mean_seconds": {name: one.wall for name, one in measured.items()},
        },
    )


if __name__ == "__main__":
    sys.exit(main())
