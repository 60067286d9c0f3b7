"""Two dispatchers and everybody else, as moves that a random schedule makes in any order.

The aggregator, the clients and the evaluator are stand-ins that act in one step each; a dispatcher
stops before every call of a port.
"""

from contextlib import suppress
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from rondo_core.cloud_events import decode_event
from rondo_core.consumer import consume_once
from rondo_core.errors import Conflict
from rondo_core.events import (
    EvaluationRequested,
    Event,
    RoundRequested,
    RunProgress,
    UpdateAccepted,
)
from rondo_core.rows import RoundRow, from_item
from rondo_core.testing import MemoryWorkflow
from rondo_dispatcher.handlers.ports import Ports
from rondo_dispatcher.handlers.sweeping import Sweep
from rondo_dispatcher.handlers.table import handler_table
from tests.unit.rondo_dispatcher import stand_ins
from tests.unit.rondo_dispatcher.actors import Actor, Fault
from tests.unit.rondo_dispatcher.whole_run import others_take_their_turn, updates
from tests.unit.rondo_dispatcher.world import RUN, World, request

CLIENTS = ("ann", "bob", "eve")
FAULTS: list[Fault] = ["none"] * 12
FAULTS += ["refused", "lost", "crash before", "crash after"]
TASKS = ["consume", "consume", "consume", "sweep"]
CALLS = [40, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 15, 20, 40]


class CheckedWorkflow(MemoryWorkflow):
    """Notes each answer that the rows do not bear out: nothing may be told before it is true."""

    world: World
    lies: list[str]

    def succeed(self, token: str, output: dict[str, object]) -> None:
        version = output["version"]
        if not isinstance(version, int) or self.world.head() < version:
            self.lies.append(f"{token}: {output} while HEAD is {self.world.head()}")
        super().succeed(token, output)

    def fail(self, token: str, *, error: str, cause: str) -> None:
        asked = [one for one in self.world.published(RoundRequested) if one.task_token == token]
        row = self.world.row(asked[0].state.round, asked[0].state.attempt)
        if row.state != "ABORTED":
            self.lies.append(f"{token}: {cause} while the attempt is {row}, {self.world.run()}")
        super().fail(token, error=error, cause=cause)


class Stage(RuleBasedStateMachine):
    """The fakes, and two dispatchers on them."""

    rounds = 2

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        workflow = CheckedWorkflow(self.world.bus, self.world.clock)
        workflow.world, workflow.lies = self.world, []
        ports = Ports(
            store=self.world.store,
            model_store=self.world.models,
            publish=self.world.bus.publish,
            workflow=workflow,
            clock=self.world.clock,
            metrics=self.world.metrics,
        )
        self.world.ports, self.world.workflow, self.lies = ports, workflow, workflow.lies
        self.world.sweep, self.world.handlers = Sweep(ports), handler_table(ports)
        self.actors = [Actor(ports, self.work) for _ in range(2)]
        self.acknowledged: dict[tuple[str, int, int], set[str]] = {}
        self.hints: list[Event] = []

    def work(self, ports: Ports) -> dict[str, Any]:
        source, metrics, sweep = (
            self.world.bus.source("dispatcher"),
            self.world.metrics,
            Sweep(ports),
        )
        table = handler_table(ports)
        return {
            "consume": lambda: consume_once(source, table, metrics, wait_seconds=0),
            "sweep": sweep,
        }

    def strategy(self, quorum: int) -> dict[str, Any]:
        """Return what the run is asked for with, beside its sizes."""
        del quorum
        return {}

    def attempts(self) -> list[RoundRow]:
        items = self.world.store.query(f"RUN#{RUN}", "ROUND#")
        return [from_item(item, RoundRow) for item in items]

    def note(self, hints: list[Event]) -> None:
        """Remember which updates were acknowledged: an acceptance is all that a client is told."""
        for event in hints:
            if isinstance(event, UpdateAccepted):
                of = (event.run_id, event.round, event.attempt)
                self.acknowledged.setdefault(of, set()).add(event.client_id)


class Processes(Stage):
    """Each dispatcher begins things and stops before every call of a port."""

    @initialize(quorum=st.integers(1, 2), wanted=st.integers(2, 3), begun=st.booleans())
    def ask_for_a_run(self, quorum: int, wanted: int, *, begun: bool) -> None:
        self.world.register()
        self.world.poll(*CLIENTS)
        asked = request(rounds=self.rounds, quorum=quorum, target=wanted, **self.strategy(quorum))
        self.world.bus.publish(asked)
        if begun:
            self.world.deliver()

    @rule(
        number=st.integers(0, 1),
        what=st.sampled_from(TASKS),
        calls=st.sampled_from(CALLS),
        fault=st.sampled_from(FAULTS),
    )
    def act(self, number: int, what: str, calls: int, fault: Fault) -> None:
        """Begin something, or go on with it, for some calls; the last one may meet a fault."""
        actor = self.actors[number]
        if not actor.busy:
            actor.begin(what)
        for call in range(calls):
            if actor.busy:
                actor.step(fault if call == calls - 1 else "none")

    @rule()
    def everything_comes_again(self) -> None:
        self.world.bus.source("dispatcher").redeliver()


class Everybody(Processes):
    """Clients, aggregator, state machine and evaluator act between the dispatchers' calls."""

    @rule(seconds=st.sampled_from([1, 30, 100]), polling=st.sets(st.sampled_from(CLIENTS)))
    def time_passes(self, seconds: float, polling: set[str]) -> None:
        self.world.clock.advance(seconds)
        self.world.poll(*sorted(polling))

    @rule(clients=st.sets(st.sampled_from(CLIENTS), min_size=1), good=st.integers(0, 4))
    def updates_are_judged(self, clients: set[str], good: int) -> None:
        for row in self.attempts():
            of = (row.run_id, row.round, row.attempt)
            for client in sorted(clients & set(row.clients)):
                with suppress(Conflict):
                    stand_ins.report(self.world.store, of, client, now=self.world.now)
                with suppress(Conflict):
                    judge = stand_ins.accept if good else stand_ins.reject
                    hint = judge(self.world.store, of, client, now=self.world.now)
                    self.note([hint])
                    self.hints.append(hint)

    @rule()
    def what_is_late_is_rejected(self) -> None:
        for row in self.attempts():
            of = (row.run_id, row.round, row.attempt)
            for update in updates(self.world, of):
                if row.state != "OPEN" and update.state == "REPORTED":
                    stand_ins.reject(self.world.store, of, update.client_id, now=self.world.now)

    @rule()
    def a_version_is_committed(self) -> None:
        for row in self.attempts():
            with suppress(Conflict):
                self.hints.append(self.world.commit(row.round, row.attempt))

    @precondition(lambda self: self.hints)
    @rule(heard=st.booleans(), twice=st.booleans())
    def hints_are_heard_or_lost(self, *, heard: bool, twice: bool) -> None:
        if heard:
            self.world.bus.publish(*self.hints, *(self.hints if twice else []))
        self.hints.clear()

    @rule()
    def everybody_does_what_is_due(self) -> None:
        """Takes the run on, so that the other rules meet it at every stage."""
        for actor in self.actors:
            while actor.busy:
                actor.step()
        self.world.deliver()
        hints = others_take_their_turn(self.world, CLIENTS)
        self.note(hints)
        self.world.bus.publish(*hints)

    @rule()
    def the_state_machine_asks_again(self) -> None:
        asked = self.world.published(RoundRequested)
        if self.world.workflow.status(RUN) == "RUNNING" and asked:
            with suppress(KeyError):  # it waits for the verdict, and asks for that again
                self.world.workflow.time_out(RUN)

    @rule()
    def somebody_asks_too_early_for_the_second_attempt(self) -> None:
        asked = self.world.published(RoundRequested)
        if asked and self.world.has_attempt(asked[-1].state.round, 1):
            state = asked[-1].state
            early = RunProgress(run_id=RUN, rounds=self.rounds, round=state.round, attempt=2)
            self.world.bus.publish(
                RoundRequested(
                    event_id="early",
                    run_id=RUN,
                    occurred_at=self.world.now,
                    state=early,
                    task_token=f"early-{len(asked)}",
                )
            )

    @rule()
    def the_evaluator_gives_its_verdict(self) -> None:
        source = self.world.bus.source("evaluator")
        for delivery in source.receive(wait_seconds=0):
            event = decode_event(delivery.body)
            assert isinstance(event, EvaluationRequested)
            MemoryWorkflow.succeed(self.world.workflow, event.task_token, {})
            self.world.bus.publish(stand_ins.promoted(RUN, self.rounds, now=self.world.now))
            source.acknowledge([delivery])
