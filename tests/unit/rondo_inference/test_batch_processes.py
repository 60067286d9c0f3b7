"""What holds the batch side's processes together: settings, hints, tasks, the composition root."""

import signal
import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from celery import Celery
from celery.signals import worker_process_init, worker_ready, worker_shutting_down
from kombu.exceptions import OperationalError

from rondo_core import celery_worker
from rondo_core.celery_worker import new_app
from rondo_core.consumer import consume_once
from rondo_core.errors import Invalid, SettingsInvalid, Unavailable
from rondo_core.health import Health
from rondo_core.settings import ServiceSettings, read_settings
from rondo_core.telemetry import Metrics
from rondo_inference import __main__ as program
from rondo_inference import batch_main
from rondo_inference.batch.settings import BatchSettings
from rondo_inference.batch.tasks import BatchWorker, CeleryHints, build_app, move_lease
from rondo_inference.command import BATCH_PROCESSES, health_port
from tests.unit.rondo_inference.batch_world import BUCKET, BatchWorld
from tests.unit.rondo_inference.memory_tasks import messages, settings

ROWS = b"rooms,town\n1,Aa\n2,Bonn\n"
ANSWERS = b"price,error\n2.0,\n13.0,\n"


@pytest.fixture
def world() -> BatchWorld:
    return BatchWorld()


def asked(app: Celery) -> list[tuple[str, list[object]]]:
    """Take the enqueued tasks out of the queue."""
    return [(str(headers["task"]), ids) for headers, ids in messages(app)]


def test_all_faults_of_the_settings_are_told_at_once() -> None:
    environ = {
        "REDIS_URL": "memory://",
        "CHUNK_BYTES": "10",
        "LANES": "0",
        "PICTURE_SIZE": "stretch",
    }

    with pytest.raises(SettingsInvalid) as found:
        read_settings(BatchSettings, environ)

    assert found.value.faults == (
        "CHUNK_BYTES='10' is less than 1024",
        "LANES='0' is less than 1",
        "PICTURE_SIZE='stretch' is none of refuse, resize",
    )


def test_hints_are_tasks_with_ids_only() -> None:
    app = new_app("batch", settings())
    hints = CeleryHints(app)

    hints.plan("job1")
    hints.score("job1", 7)
    hints.join("job1")

    assert asked(app) == [
        ("rondo.batch.plan", ["job1"]),
        ("rondo.batch.score", ["job1", 7]),
        ("rondo.batch.join", ["job1"]),
    ]
    assert (app.conf.accept_content, app.conf.task_acks_late) == (["json"], True)
    assert app.conf.broker_transport_options["visibility_timeout"] == 1200


def test_a_broker_that_is_away_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OperationalError("connection refused")

    app = new_app("batch", settings())
    monkeypatch.setattr(app, "send_task", refuse)

    with pytest.raises(Unavailable, match=r"did not take rondo\.batch\.plan"):
        CeleryHints(app).plan("job1")


def test_the_app_opens_its_worker_once_in_each_process_and_runs_its_tasks(
    world: BatchWorld,
) -> None:
    answers: list[Any] = [Unavailable("no network"), world.worker]

    def open_worker(_: Celery) -> BatchWorker:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer  # type: ignore[no-any-return]  # it is one

    app = build_app(settings(), open_worker)
    assert len(answers) == 2
    worker_process_init.send(sender=None)
    assert len(answers) == 1, "it failed, and was logged"
    job_id = world.make(ROWS)
    app.tasks["rondo.batch.plan"](job_id)
    app.tasks["rondo.batch.score"](job_id, 0)
    app.tasks["rondo.batch.score"](job_id, 1)
    app.tasks["rondo.batch.join"](job_id)

    assert world.output(job_id) == ANSWERS
    assert answers == []


def test_a_lease_moves_while_a_job_is_under_way_and_no_longer(world: BatchWorld) -> None:
    job_id = world.make(ROWS)

    move_lease(job_id, world.ports)
    assert world.job(job_id).lease == 1
    world.work()
    lease = world.job(job_id).lease
    move_lease(job_id, world.ports)
    move_lease("gone", world.ports)

    assert world.job(job_id).lease == lease


class Cloud:
    """Stands where ``rondo_core.aws.connect`` would open connections."""

    class Names:
        bucket = BUCKET

    def __init__(self, world: BatchWorld) -> None:
        self.names = self.Names()
        self.run_store = world.rows
        self.model_store = world.store
        self.object_folders = world.folders
        self._bus = world.bus

    def publish(self, source: str) -> Callable[..., None]:
        assert source == "rondo/batch"
        return self._bus.publish

    def event_source(self, service: str) -> object:
        return self._bus.source(service)


@pytest.fixture
def process(world: BatchWorld, monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Let ``main`` run in this process: fakes for the cloud, a queue in memory for the broker."""
    monkeypatch.setattr(batch_main, "connect", lambda _: Cloud(world))
    monkeypatch.setattr(batch_main, "configure_logging", lambda *_, **__: None)
    monkeypatch.setenv("REDIS_URL", "memory://")
    monkeypatch.setenv("RONDO_PREFIX", f"unit-{uuid.uuid4()}")
    handlers = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    yield monkeypatch
    for number, handler in zip((signal.SIGTERM, signal.SIGINT), handlers, strict=True):
        signal.signal(number, handler)


def test_the_intake_turns_messages_into_tasks_and_sweeps(
    world: BatchWorld, process: pytest.MonkeyPatch
) -> None:
    job_id, swept = world.make(ROWS), []

    def run_once(
        *,
        source: Any,
        handlers: Mapping[Any, Any],
        sweep: Callable[[], None],
        sweep_seconds: float,
        settings: ServiceSettings,
        metrics: Metrics,
    ) -> None:
        consume_once(source, handlers, metrics, wait_seconds=0)
        sweep()
        swept.append(sweep_seconds)
        assert isinstance(settings, BatchSettings)
        assert asked(new_app("batch", settings)) == [("rondo.batch.plan", [job_id])]

    process.setattr(batch_main, "run_worker", run_once)
    process.setattr("sys.argv", ["rondo-inference", "batch-intake"])

    program.main()

    assert swept == [1.0]


def test_the_worker_runs_tasks_with_the_ports_that_it_opened(
    world: BatchWorld, process: pytest.MonkeyPatch
) -> None:
    seen: dict[str, Any] = {}
    job_id = world.make(ROWS)

    class Server:
        def shutdown(self) -> None:
            pass

    def serve(settings: ServiceSettings, health: Health, metrics: Metrics) -> Server:
        del metrics
        seen.update(port=settings.health_port, health=health)
        return Server()

    def work_once(app: Celery, argv: list[str]) -> None:
        assert "worker" in argv
        worker_process_init.send(sender=None)
        worker_ready.send(sender=None)
        seen["ready"] = seen["health"].ready.is_set()
        app.tasks["rondo.batch.plan"](job_id)
        app.tasks["rondo.batch.score"](job_id, 0)
        app.tasks["rondo.batch.join"](job_id)
        worker_shutting_down.send(sender=None)

    process.setattr(celery_worker, "serve_health", serve)
    process.setattr(Celery, "worker_main", work_once)
    process.setattr("sys.argv", ["rondo-inference", "batch-worker"])
    process.setenv("HEALTH_PORT", "9191")

    program.main()

    assert world.output(job_id) == ANSWERS
    assert (seen["port"], seen["ready"], seen["health"].ready.is_set()) == (9191, True, False)


@pytest.mark.parametrize("word", BATCH_PROCESSES)
def test_a_health_check_asks_the_port_of_the_process_that_works_in_the_container(word: str) -> None:
    variables = {"HEALTH_PORT": "9191", "PORT": "8081"}
    script = b"/app/bin/python\0/app/bin/rondo-inference\0"

    assert health_port(script + word.encode() + b"\0", variables) == 9191
    assert health_port(script + word.encode() + b"\0", {}) == ServiceSettings.health_port
    assert health_port(script, variables) == 8081
    assert health_port(script + b"serve\0--port\x007\0", variables) == 7
    assert health_port(b"", variables) == 8081


def test_pictures_are_read_as_the_settings_say(
    world: BatchWorld, process: pytest.MonkeyPatch
) -> None:
    del process
    worker = batch_main.open_worker(settings(), world.metrics, new_app("batch", settings()))

    with pytest.raises(Invalid, match="the model takes no pictures"):
        worker.models.pictures(worker.models.spec(world.export.alias), [b""])
