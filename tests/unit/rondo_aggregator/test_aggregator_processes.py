"""What holds a worker's processes together: settings, tasks, metrics, the lease's thread."""

import threading
from collections.abc import Callable

import pytest
from celery.signals import worker_process_init

from rondo_aggregator.handlers.partials import move_lease
from rondo_aggregator.settings import MIN_SHARD_COLUMNS, AggregatorSettings
from rondo_aggregator.tasks import build_app, run_task
from rondo_core.errors import SettingsInvalid, Unavailable
from rondo_core.lease import keep_moving
from rondo_core.metrics_pipe import pipe_to
from rondo_core.settings import read_settings
from rondo_core.telemetry import Metrics
from tests.spans import kept
from tests.unit.rondo_aggregator.aggregator_world import World, memory_settings, seal_three
from tests.unit.rondo_aggregator.round_rows import ATTEMPT, abort


def test_the_broker_is_required_and_its_password_never_shown() -> None:
    settings = read_settings(AggregatorSettings, {"REDIS_URL": "redis://:hunter2@localhost/0"})

    assert settings.redis_url.value == "redis://:hunter2@localhost/0"
    assert "hunter2" not in repr(settings)
    with pytest.raises(SettingsInvalid, match="REDIS_URL is missing"):
        read_settings(AggregatorSettings, {})


def test_shards_too_small_to_be_assembled_are_refused_at_the_start() -> None:
    smallest = {"REDIS_URL": "memory://", "SHARD_COLUMNS": str(MIN_SHARD_COLUMNS)}
    too_small = {"REDIS_URL": "memory://", "SHARD_COLUMNS": str(MIN_SHARD_COLUMNS - 1)}

    assert read_settings(AggregatorSettings, smallest).shard_columns == 1_310_720
    with pytest.raises(SettingsInvalid, match="SHARD_COLUMNS=1310719 is less than 1310720"):
        read_settings(AggregatorSettings, too_small)


def test_the_app_opens_its_ports_in_each_process_after_the_fork_and_runs_its_tasks(
    world: World,
) -> None:
    opened = []

    def open_ports(app: object) -> object:
        opened.append(app)
        return world.ports

    app = build_app(memory_settings(), open_ports)  # type: ignore[arg-type]  # of fakes
    assert opened == []
    worker_process_init.send(sender=None)
    assert opened == [app]

    seal_three(world)
    world.submit("dan")
    app.tasks["rondo.validate"]("run-1", 1, 1, clients=["dan"])
    app.tasks["rondo.combine"]("run-1", 1, 1, take_over=None)
    app.tasks["rondo.partial"]("run-1", 1, 1, manifest="f" * 64, width=3, index=0)

    assert world.updates()["dan"].code == "late"
    assert world.round().state == "COMMITTED"


def test_a_process_that_could_not_open_its_ports_tries_again_at_its_next_task(
    world: World,
) -> None:
    answers = [Unavailable("no network"), world.ports]

    def open_ports(_: object) -> object:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    app = build_app(memory_settings(), open_ports)  # type: ignore[arg-type]  # of fakes
    worker_process_init.send(sender=None)
    seal_three(world)

    app.tasks["rondo.combine"]("run-1", 1, 1, take_over=None)

    assert world.round().state == "COMMITTED"


def test_a_task_that_raises_is_counted_and_does_not_end_the_process(world: World) -> None:
    def broken() -> str:
        raise ZeroDivisionError

    run_task("combine", ATTEMPT, broken, world.ports)

    assert world.count("rondo_loop_failures_total", kind="combine", outcome="error") == 1


def test_a_task_is_a_span_which_says_that_it_failed(world: World) -> None:
    def broken() -> str:
        raise ZeroDivisionError

    with kept() as spans:
        run_task("combine", ATTEMPT, broken, world.ports)

    assert spans.named("run combine").failed == "ZeroDivisionError"


def test_a_task_that_meets_a_store_that_is_away_is_no_failure(world: World) -> None:
    def away() -> str:
        raise Unavailable("no answer")

    run_task("combine", ATTEMPT, away, world.ports)

    assert world.count("rondo_loop_failures_total", kind="combine", outcome="error") == 0


def eventually(happened: Callable[[], object]) -> None:
    """Wait, on another thread's work, for at most two seconds."""
    pause = threading.Event()
    for _ in range(400):
        if happened():
            return
        pause.wait(0.005)
    pytest.fail("it did not happen")


def test_a_lease_moves_as_long_as_the_work_takes(world: World) -> None:
    seal_three(world)

    with keep_moving(lambda: move_lease(ATTEMPT, store=world.store), every_seconds=0.001):
        eventually(lambda: world.round().lease >= 3)
    lease = world.round().lease
    threading.Event().wait(0.01)

    assert world.round().lease == lease


def test_a_lease_that_cannot_be_moved_does_not_stop_the_work() -> None:
    calls = []

    def refuse() -> None:
        calls.append(1)
        raise Unavailable("no answer")

    with keep_moving(refuse, every_seconds=0.001):
        eventually(lambda: len(calls) >= 2)


def test_work_that_is_done_at_once_moves_no_lease() -> None:
    calls: list[int] = []

    with keep_moving(lambda: calls.append(1), every_seconds=5.0):
        pass

    assert calls == []


def test_the_lease_of_a_round_that_is_over_does_not_move(world: World) -> None:
    seal_three(world)
    abort(world.store, epoch=1)

    move_lease(ATTEMPT, store=world.store)

    assert world.round().lease == 0


def sample(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def test_what_children_measure_is_counted_in_the_main_process() -> None:
    main = Metrics()

    with pipe_to(main) as child:
        child.count("rondo_updates_judged_total", outcome="late", amount=2)
        child.gauge("rondo_active_rounds", 3.0, kind="k")
        with child.timed("rondo_combine_seconds", kind="round"):
            pass

    assert sample(main, "rondo_combine_seconds_count", kind="round", outcome="ok") == 1.0
    assert sample(main, "rondo_updates_judged_total", kind="", outcome="late") == 2.0
    assert sample(main, "rondo_active_rounds", kind="k") == 3.0


def test_a_measurement_that_cannot_be_sent_is_dropped() -> None:
    main = Metrics()
    with pipe_to(main) as child:
        pass

    child.count("rondo_updates_judged_total")

    assert sample(main, "rondo_updates_judged_total", kind="", outcome="ok") is None
