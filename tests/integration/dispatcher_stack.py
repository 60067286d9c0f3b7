"""A dispatcher's process on a prefix of its own, and stand-ins for everybody else."""

import os
import signal
import sys
import time
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import count
from typing import Any, TypeVar

from rondo_core.aws import AwsPorts, connect
from rondo_core.cloud_events import decode_event
from rondo_core.events import EvaluationRequested, RunRequested
from rondo_core.keys import head_key, round_key, run_key
from rondo_core.rows import HeadRow, RoundRow, RunRow, from_item
from rondo_core.settings import AwsSettings
from rondo_local.bootstrap import bootstrap
from rondo_local.processes import Program, Supervisor
from rondo_local.readiness import free_port
from tests.emulators import Aws
from tests.unit.rondo_dispatcher import stand_ins

__all__ = ["DispatcherStack", "eventually"]

SECONDS = 30.0
NUMBERS = count(1)
Found = TypeVar("Found")


def eventually(find: Callable[[], Found | None], otherwise: Callable[[], object]) -> Found:
    """Poll until something is found that is not empty, and return it."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        found = find()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(otherwise())


class Table:
    """What the rows of one run say.

    Attributes:
        ports: the adapters to the emulator.
        run_id: the run.
    """

    def __init__(self, ports: AwsPorts, run_id: str) -> None:
        self.ports, self.run_id = ports, run_id

    def row(self, round_: int = 1, attempt: int = 1) -> RoundRow | None:
        item = self.ports.run_store.get(round_key(self.run_id, round_, attempt))
        return None if item is None else from_item(item, RoundRow)

    def run(self) -> RunRow | None:
        item = self.ports.run_store.get(run_key(self.run_id))
        return None if item is None else from_item(item, RunRow)

    def head(self) -> int:
        item = self.ports.run_store.get(head_key(self.run_id))
        return -1 if item is None else from_item(item, HeadRow).version

    def await_run(self, state: str) -> RunRow:
        def reached() -> RunRow | None:
            row = self.run()
            return row if row is not None and row.state == state else None

        return eventually(reached, lambda: f"{self.run()}, not {state}")

    def await_state(self, state: str, round_: int = 1, attempt: int = 1) -> RoundRow:
        def reached() -> RoundRow | None:
            row = self.row(round_, attempt)
            sealed_half = row is not None and row.state == "SEALED" and row.manifest is None
            return row if row is not None and row.state == state and not sealed_half else None

        return eventually(reached, lambda: f"{self.row(round_, attempt)}, not {state}")


class Others(Table):
    """What an operator, the clients, the aggregator and the evaluator do to the run."""

    def request(self, *clients: str, **changes: Any) -> None:
        """Register a model, let clients poll and publish RunRequested."""
        store, models = self.ports.run_store, self.ports.model_store
        stand_ins.register(store, models, now=datetime.now(UTC))
        stand_ins.poll(store, clients, now=datetime.now(UTC))
        fields: dict[str, Any] = {"rounds": 1, "target": 2, "quorum": 2} | changes
        self.ports.publish("test")(
            RunRequested(
                event_id=f"RunRequested/{self.run_id}",
                run_id=self.run_id,
                occurred_at=datetime.now(UTC),
                model="digits",
                **fields,
            )
        )

    def accept_all(self, round_: int = 1, attempt: int = 1) -> None:
        """Judge every chosen client's update and publish the hints."""
        row, now = self.await_state("OPEN", round_, attempt), datetime.now(UTC)
        of = (self.run_id, round_, attempt)
        for client in row.clients:
            stand_ins.report(self.ports.run_store, of, client, now=now)
        hints = [
            stand_ins.accept(self.ports.run_store, of, client, now=now) for client in row.clients
        ]
        self.ports.publish("test")(*hints)

    def commit(self, round_: int = 1, attempt: int = 1) -> None:
        of = (self.run_id, round_, attempt)
        store, models = self.ports.run_store, self.ports.model_store
        event = stand_ins.commit_version(store, models, of, now=datetime.now(UTC))
        self.ports.publish("test")(event)

    def give_verdict(self) -> None:
        """Answer the evaluator's request, as the evaluator does."""
        source = self.ports.event_source("evaluator")
        (delivery,) = eventually(lambda: source.receive(wait_seconds=1), lambda: "no request")
        event = decode_event(delivery.body)
        assert isinstance(event, EvaluationRequested)
        verdict = stand_ins.promoted(self.run_id, event.state.round, now=datetime.now(UTC))
        self.ports.publish("test")(verdict)
        self.ports.workflow.succeed(event.task_token, {})
        source.acknowledge([delivery])


class DispatcherStack(Others):
    """Starts, stops and kills the process, and looks at the state machine.

    Args:
        aws: the emulator.
        supervisor: keeps the process.
        environ: more of the process's variables.
    """

    def __init__(self, aws: Aws, supervisor: Supervisor, **environ: str) -> None:
        number = next(NUMBERS)
        settings = AwsSettings(
            aws_endpoint_url=aws.endpoint_url,
            aws_region=aws.region,
            rondo_prefix=f"dispatcher{number}",
        )
        bootstrap(settings, session=aws.session)
        super().__init__(connect(settings, aws.session), f"run-{number}")
        self._supervisor = supervisor
        self._program = Program(
            name=f"dispatcher-{aws.name}-{number}",
            argv=(sys.executable, "-m", "rondo_dispatcher.main"),
            env={
                **aws.environment,
                "PATH": os.environ["PATH"],
                "RONDO_PREFIX": settings.rondo_prefix,
                "HEALTH_PORT": str(free_port()),
                "SWEEP_SECONDS": "0.2",
                **environ,
            },
            grace_seconds=0.2,  # a test that is over does not wait for the end of a long poll
        )

    def start(self) -> None:
        self._supervisor.start(self._program)

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal to the dispatcher; the supervisor starts it again when it has ended."""
        os.kill(self._supervisor.pid(self._program.name), number)

    def log(self) -> str:
        return self._supervisor.log_path(self._program.name).read_text()

    def metrics(self) -> str:
        url = f"http://127.0.0.1:{self._program.env['HEALTH_PORT']}/metrics"
        with urllib.request.urlopen(url) as answer:
            return str(answer.read().decode())

    def execution(self) -> str:
        states, names = self.ports.client("stepfunctions"), self.ports.names
        arn = self.ports.arn("states", f"execution:{names.state_machine}:{self.run_id}")
        return str(states.describe_execution(executionArn=arn)["status"])

    def shorten_timeout(self, seconds: int) -> None:
        """Let the state machine give up waiting for a round after some seconds."""
        states, names = self.ports.client("stepfunctions"), self.ports.names
        arn = self.ports.arn("states", f"stateMachine:{names.state_machine}")
        definition = states.describe_state_machine(stateMachineArn=arn)["definition"]
        shorter = definition.replace('"TimeoutSeconds": 86400', f'"TimeoutSeconds": {seconds}')
        assert shorter != definition
        states.update_state_machine(stateMachineArn=arn, definition=shorter)
