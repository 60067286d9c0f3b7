"""EvaluationRequested, from the event to alias, export, fact and answered token."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import numpy as np
import pytest

from rondo_core.errors import EventsRefused, NotFound, Unavailable
from rondo_core.events import EvaluationRequested, Event, RunProgress, VersionHeld, VersionPromoted
from rondo_core.exports import ONNX_FILE, export_file_key, export_index_key, parse_export_index
from rondo_core.holdout import encode_holdout
from rondo_core.initial_weights import layout_of_spec
from rondo_core.keys import alias_key, head_key, outbox_pk, run_key, spec_row_key, version_key
from rondo_core.layout import Float32Array
from rondo_core.model_rows import AliasRow, SpecRow
from rondo_core.model_spec import ModelSpec, encode_model_spec, parse_model_spec
from rondo_core.model_store import holdout_key, spec_key, weights_key
from rondo_core.relay import relay
from rondo_core.rows import HeadRow, RunRow, VersionRow, from_item, to_item
from rondo_core.run_store import Change, Put
from rondo_core.telemetry import Metrics
from rondo_core.testing import ManualClock, MemoryModelStore, MemoryRunStore
from rondo_core.weights import digest, encode
from rondo_evaluator.handlers.evaluate import on_evaluation_requested
from rondo_evaluator.handlers.ports import Ports
from tests.unit.rondo_evaluator.numpy_bench import NumpyBench

NOW = datetime(2026, 1, 1, tzinfo=UTC)
X = np.array([[1, 0], [0, 1], [1, 0], [0, 1]], np.float32)
Y = np.array([0, 1, 0, 1], np.int64)
GOOD = np.array([1, 0, 0, 1, 0, 0], np.float32)  # kernel 2 x 2, bias 2: right on all four
HALF = np.array([1, 0, 1, 0, 0, 0], np.float32)  # always class 0: right on two of four


@dataclass
class RecordingWorkflow:
    """Keeps the answered tokens; the evaluator neither starts nor fails executions."""

    answers: dict[str, dict[str, object]] = field(default_factory=dict)

    def start(self, progress: RunProgress) -> None:
        raise AssertionError(progress)

    def succeed(self, token: str, output: dict[str, object]) -> None:
        self.answers[token] = output

    def fail(self, token: str, *, error: str, cause: str) -> None:
        raise AssertionError((token, error, cause))


class RacingStore(MemoryRunStore):
    """Shares another store's rows; somebody else commits right before its first commit."""

    def __init__(self, shared: MemoryRunStore, before_commit: Callable[[], None]) -> None:
        super().__init__()
        self.__dict__.update(shared.__dict__)
        self._before_commit: Callable[[], None] | None = before_commit

    def commit(self, *changes: Change) -> None:
        rival, self._before_commit = self._before_commit, None
        if rival is not None:
            rival()
        super().commit(*changes)


class World:
    """A model, two specs of it where asked for, and any number of finished runs."""

    def __init__(self) -> None:
        self.bench = NumpyBench()
        self.workflow = RecordingWorkflow()
        self.published: list[Event] = []
        self.store = MemoryRunStore()
        self.objects = MemoryModelStore()
        self.ports = Ports(
            store=self.store,
            model_store=self.objects,
            bench=self.bench,
            publish=self._publish,
            workflow=self.workflow,
            clock=ManualClock(NOW),
            metrics=Metrics(),
        )
        self.bus_is_down = False

    def _publish(self, *events: Event) -> None:
        if self.bus_is_down:
            raise Unavailable("the topic does not answer")
        self.published += events

    def finished_run(
        self, run_id: str, flat: Float32Array, *, holdout: bytes | None = None
    ) -> None:
        """Put what a run leaves behind when its last round is committed."""
        spec = tabular_spec()
        holdout = encode_holdout(X, Y) if holdout is None else holdout
        weights = encode(layout_of_spec(spec), flat)
        self.objects.put(spec_key(spec.sha256), encode_model_spec(spec))
        self.objects.put(weights_key(digest(weights)), weights)
        self.objects.put(holdout_key(digest(holdout)), holdout)
        self.store.commit(*rows_of(run_id, spec, weights, digest(holdout)))

    def evaluate(self, run_id: str, token: str = "token") -> None:
        progress = RunProgress(run_id=run_id, rounds=1, round=1, attempt=1)
        event = EvaluationRequested(
            event_id="e", run_id=run_id, occurred_at=NOW, state=progress, task_token=token
        )
        on_evaluation_requested([event], ports=self.ports)

    def champion(self) -> AliasRow | None:
        item = self.store.get(alias_key("shapes"))
        return None if item is None else from_item(item, AliasRow)


def tabular_spec() -> ModelSpec:
    return parse_model_spec(
        b"""{"model": "shapes", "loss": "sparse_categorical_crossentropy", "metrics": ["accuracy"],
        "input": {"kind": "table", "columns": [{"kind": "number", "name": "a"},
        {"kind": "number", "name": "b"}]}, "output": {"kind": "classes", "labels": ["A", "B"]},
        "layers": [{"kind": "Dense", "name": "scores", "units": 2, "activation": "softmax"}]}"""
    )


def rows_of(run_id: str, spec: ModelSpec, weights: bytes, holdout: str) -> tuple[Change, ...]:
    layout = layout_of_spec(spec)
    version = VersionRow(
        run_id=run_id,
        version=1,
        sha256=digest(weights),
        layout=layout.digest,
        size=len(weights),
        parent=0,
        committed_at=NOW,
    )
    run = RunRow(
        run_id=run_id,
        model="shapes",
        spec=spec.sha256,
        layout=layout.digest,
        strategy="fedavg",
        rounds=1,
        target=1,
        quorum=1,
        deadline_seconds=1,
        start_deadline_seconds=1,
        state="RUNNING",
        requested_at=NOW,
    )
    registered = SpecRow(
        model="shapes",
        spec=spec.sha256,
        layout=layout.digest,
        header_bytes=layout.data_offset,
        initial_sha256=digest(weights),
        initial_size=len(weights),
        holdout_sha256=holdout,
        holdout_size=1,
        created_at=NOW,
    )
    return (
        Put(run_key(run_id), to_item(run)),
        Put(head_key(run_id), to_item(HeadRow(version=1))),
        Put(version_key(run_id, 1), to_item(version)),
        Put(spec_row_key("shapes", spec.sha256), to_item(registered)),
    )


@pytest.fixture
def world() -> World:
    return World()


def test_first_version_of_a_model_becomes_its_champion_and_the_token_is_answered(
    world: World,
) -> None:
    world.finished_run("run-1", GOOD)

    world.evaluate("run-1")

    champion = world.champion()
    assert champion is not None
    assert (champion.run_id, champion.version, champion.model_version) == ("run-1", 1, 1)
    assert champion.metrics == {"accuracy": 1.0, "loss": 0.5}
    assert world.workflow.answers == {"token": {"outcome": "promoted"}}
    (fact,) = world.published
    assert isinstance(fact, VersionPromoted)
    assert (fact.event_id, fact.model_version) == ("VersionPromoted/run-1/1", 1)
    assert world.store.query(outbox_pk("evaluator")) == []


def test_the_export_is_in_the_store_under_the_digests_that_the_alias_names(world: World) -> None:
    world.finished_run("run-1", GOOD)

    world.evaluate("run-1")

    champion = world.champion()
    assert champion is not None
    body = world.objects.get(export_index_key(champion.sha256, champion.export))
    assert digest(body) == champion.export
    index = parse_export_index(body)
    assert (index.spec, index.weights) == (champion.spec, champion.sha256)
    assert world.objects.get(export_file_key(index, ONNX_FILE)) == GOOD.tobytes()


def test_a_better_version_takes_over_with_the_next_integer(world: World) -> None:
    world.finished_run("run-1", HALF)
    world.evaluate("run-1")
    world.finished_run("run-2", GOOD)

    world.evaluate("run-2")

    champion = world.champion()
    assert champion is not None
    assert (champion.run_id, champion.model_version) == ("run-2", 2)


def test_a_worse_version_is_held_without_an_export_and_the_champion_stays(world: World) -> None:
    world.finished_run("run-1", GOOD)
    world.evaluate("run-1")
    world.finished_run("run-2", HALF)

    world.evaluate("run-2", "second")

    champion = world.champion()
    assert champion is not None
    assert champion.run_id == "run-1"
    assert world.bench.exports == 1
    fact = world.published[-1]
    assert isinstance(fact, VersionHeld)
    assert fact.reason == "accuracy 0.5 is below the champion with 1"
    assert world.workflow.answers["second"] == {"outcome": "held"}


def test_the_same_request_again_measures_nothing_and_answers_the_new_token(world: World) -> None:
    world.finished_run("run-1", GOOD)
    world.evaluate("run-1", "first")

    world.evaluate("run-1", "second")

    assert world.bench.evaluations == 1
    assert world.workflow.answers["second"] == {"outcome": "promoted"}
    champion = world.champion()
    assert champion is not None
    assert champion.model_version == 1


def test_a_crash_between_commit_and_publish_is_mended_by_the_relay(world: World) -> None:
    world.finished_run("run-1", GOOD)
    world.bus_is_down = True
    with pytest.raises(Unavailable):
        world.evaluate("run-1")
    assert world.champion() is not None
    assert world.published == []
    world.bus_is_down = False

    relay(
        service="evaluator",
        store=world.store,
        publish=world.ports.publish,
        clock=world.ports.clock,
        metrics=world.ports.metrics,
    )

    assert [type(fact) for fact in world.published] == [VersionPromoted]
    assert world.store.query(outbox_pk("evaluator")) == []


def test_a_verdict_that_the_topic_refuses_is_given_all_the_same_and_left_to_the_relay(
    world: World,
) -> None:
    def refuse(*events: Event) -> None:
        raise EventsRefused({event.event_id: "too long" for event in events})

    world.finished_run("run-1", GOOD)
    world.ports = replace(world.ports, publish=refuse)

    world.evaluate("run-1")

    assert world.champion() is not None
    assert world.workflow.answers["token"] == {"outcome": "promoted"}
    assert len(world.store.query(outbox_pk("evaluator"))) == 1


def test_an_export_that_disagrees_with_keras_is_held_with_the_reason(world: World) -> None:
    world.finished_run("run-1", GOOD)
    world.bench.refusal = "model.onnx: an output is 0.3 away from Keras's"

    world.evaluate("run-1")

    assert world.champion() is None
    (fact,) = world.published
    assert isinstance(fact, VersionHeld)
    assert fact.reason == "model.onnx: an output is 0.3 away from Keras's"


def test_a_missing_holdout_holds_the_version_and_names_the_object(world: World) -> None:
    world.finished_run("run-1", GOOD)
    lost = replace(world.ports, model_store=MemoryModelStore())
    world.ports = lost

    world.evaluate("run-1")

    (fact,) = world.published
    assert isinstance(fact, VersionHeld)
    assert "specs/" in fact.reason
    assert world.workflow.answers == {"token": {"outcome": "held"}}


def test_a_holdout_of_another_shape_holds_the_version(world: World) -> None:
    wide = encode_holdout(np.ones((4, 3), np.float32), Y)
    world.finished_run("run-1", GOOD, holdout=wide)

    world.evaluate("run-1")

    (fact,) = world.published
    assert isinstance(fact, VersionHeld)
    assert fact.reason == "inputs of shape (3,), the spec wants (2,)"


def test_on_another_holdout_the_champion_is_measured_again(world: World) -> None:
    world.finished_run("run-1", HALF)
    world.evaluate("run-1")  # reaches 0.5 on the first holdout
    ones = encode_holdout(X[::2], Y[::2])  # class 0 only: HALF reaches 1.0 here
    world.finished_run("run-2", np.array([0, 1, 0, 1, 0, 0], np.float32), holdout=ones)

    world.evaluate("run-2")

    fact = world.published[-1]
    assert isinstance(fact, VersionHeld)
    assert fact.reason == "accuracy 0 is below the champion with 1"


def test_losing_the_race_for_the_alias_compares_with_the_winner(world: World) -> None:
    world.finished_run("run-1", HALF)
    world.finished_run("run-2", GOOD)
    racing = RacingStore(world.store, before_commit=lambda: world.evaluate("run-2", "rival"))
    slow = replace(world.ports, store=racing)
    progress = RunProgress(run_id="run-1", rounds=1, round=1, attempt=1)
    event = EvaluationRequested(
        event_id="e", run_id="run-1", occurred_at=NOW, state=progress, task_token="slow"
    )

    on_evaluation_requested([event], ports=slow)

    champion = world.champion()
    assert champion is not None
    assert (champion.run_id, champion.model_version) == ("run-2", 1)
    assert world.workflow.answers["slow"] == {"outcome": "held"}


def test_a_run_that_does_not_exist_is_refused_by_name(world: World) -> None:
    with pytest.raises(NotFound, match="RUN#nobody/META"):
        world.evaluate("nobody")
