"""What the sweep finds, and what it costs when there is nothing to find."""

from rondo_core.errors import Unavailable
from rondo_core.events import RoundRequested
from rondo_core.keys import round_key, run_key
from rondo_core.rows import RunRow, to_item
from rondo_core.run_store import Delete, Put, Update
from rondo_dispatcher.handlers.sweeping import IDLE_SWEEPS, Sweep
from tests.unit.rondo_dispatcher.world import RUN, START, World, request


def count_reads(world: World) -> list[str]:
    """Note each read of an index and each query from now on."""
    reads: list[str] = []
    active, query = world.store.active, world.store.query
    world.store.active = lambda kind: reads.append(kind) or active(kind)  # type: ignore[method-assign,func-returns-value]
    world.store.query = lambda pk, prefix="": reads.append(pk) or query(pk, prefix)  # type: ignore[method-assign,func-returns-value]
    return reads


def test_a_run_whose_execution_never_started_is_started_again(world: World) -> None:
    world.register()
    start = world.workflow.start

    def refuse(_progress: object) -> None:
        raise Unavailable("no answer")

    world.workflow.start = refuse  # type: ignore[method-assign,assignment]
    world.hear(request())
    assert (world.run().state, world.workflow.status(RUN)) == ("RUNNING", None)

    world.workflow.start = start  # type: ignore[method-assign]
    world.sweep()

    assert world.workflow.status(RUN) == "RUNNING"


def test_a_run_that_has_an_attempt_is_not_started_again(world: World) -> None:
    world.begin("ann", "bob")
    world.hear(*world.accept("ann", "bob"))
    world.hear(world.commit())
    assert world.store.active("round") == []
    asked = len(world.published(RoundRequested))
    world.workflow.start = None  # type: ignore[method-assign,assignment]  # must not be called

    world.sweep()

    assert len(world.published(RoundRequested)) == asked


def test_a_paused_run_is_not_started_by_the_sweep(world: World) -> None:
    world.register()
    world.handle(request())
    world.store.commit(Update(run_key(RUN), assign={"state": "PAUSED"}))
    world.workflow.start = None  # type: ignore[method-assign,assignment]  # must not be called

    world.sweep()

    assert not world.has_attempt()


def test_a_run_that_the_index_still_shows_but_is_gone_is_left_alone(world: World) -> None:
    world.register()
    world.handle(request())
    stale = world.store.active("run")
    world.store.commit(Delete(run_key(RUN)))
    world.store.active = lambda kind: stale if kind == "run" else []  # type: ignore[method-assign]
    world.workflow.start = None  # type: ignore[method-assign,assignment]  # must not be called

    world.sweep()

    assert not world.has_attempt()


def test_one_poisoned_row_does_not_keep_the_others_from_their_turn(world: World) -> None:
    world.begin("ann", "bob")
    world.accept("ann", "bob")
    poison = {"active": "round", "run_id": "run-0", "state": "NONSENSE"}
    world.store.commit(Put(round_key("run-0", 1, 1), poison))

    world.sweep()

    assert world.row().state == "SEALED"
    failures = world.metrics.registry.get_sample_value(
        "rondo_loop_failures_total", {"kind": "sweep", "outcome": "retry"}
    )
    assert failures == 1


def test_idle_sweeps_read_one_index_and_every_tenth_reads_all(world: World) -> None:
    reads = count_reads(world)

    for _ in range(2 * (IDLE_SWEEPS + 1)):
        world.sweep()

    full = ["run", "round", "OUTBOX#dispatcher"]
    assert reads == (full + ["run"] * IDLE_SWEEPS) * 2


def test_a_sweep_that_found_something_is_followed_by_a_full_one(world: World) -> None:
    world.begin("ann", "bob", quorum=2)
    world.sweep()
    world.store.commit(Update(run_key(RUN), remove=("active",)))  # the run is over, the round not
    world.sweep()
    reads = count_reads(world)

    world.sweep()

    assert reads[:2] == ["run", "round"]


def test_a_new_run_wakes_an_idle_sweep(world: World) -> None:
    world.sweep()
    world.register()
    world.handle(request())
    reads = count_reads(world)

    world.sweep()

    assert reads == ["run", "round", "OUTBOX#dispatcher"]


def test_the_sweep_tells_how_many_attempts_are_active(world: World) -> None:
    world.begin("ann", "bob")

    world.sweep()

    registry = world.metrics.registry
    assert registry.get_sample_value("rondo_active_rounds", {"kind": ""}) == 1
    assert (
        registry.get_sample_value("rondo_rounds_opened_total", {"kind": "", "outcome": "ok"}) == 1
    )


def test_several_runs_are_swept_side_by_side(world: World) -> None:
    world.begin("ann", "bob", quorum=2)
    world.hear(request(run_id="run-2", quorum=2))

    world.clock.advance(100)
    Sweep(world.ports)()

    states = {item["run_id"]: item["state"] for item in world.store.active("round")}
    assert states == {}
    assert world.row().state == "ABORTED"
    assert (world.store.get(round_key("run-2", 1, 1)) or {})["state"] == "ABORTED"


def test_a_run_row_of_the_index_may_be_of_any_age(world: World) -> None:
    row = RunRow(
        run_id="old",
        model="digits",
        spec="s",
        layout="l",
        strategy="fedavg",
        rounds=1,
        target=1,
        quorum=1,
        deadline_seconds=1.0,
        start_deadline_seconds=1.0,
        state="RUNNING",
        requested_at=START,
        active="run",
    )
    world.store.commit(Put(run_key("old"), to_item(row)))
    world.clock.advance(1_000_000)

    world.sweep()

    assert world.workflow.status("old") == "RUNNING"
