"""The composition root: from the environment to a handled message and a finished task."""

import signal
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from celery import Celery
from celery.signals import worker_process_init, worker_ready, worker_shutting_down
from prometheus_client import generate_latest

from rondo_aggregator import main as program
from rondo_core import celery_worker
from rondo_core.consumer import consume_once
from rondo_core.errors import SettingsInvalid
from rondo_core.events import UpdateSubmitted, VersionCommitted
from rondo_core.health import Health
from rondo_core.settings import ServiceSettings
from rondo_core.telemetry import Metrics
from tests.unit.rondo_aggregator.aggregator_world import World, seal_three


class Cloud:
    """Stands where ``rondo_core.aws.connect`` would open connections."""

    def __init__(self, world: World) -> None:
        self.run_store = world.store
        self.model_store = world.models
        self._bus = world.bus

    def publish(self, source: str) -> Callable[..., None]:
        assert source == "rondo/aggregator"
        return self._bus.publish

    def event_source(self, service: str) -> object:
        return self._bus.source(service)


class Server:
    def shutdown(self) -> None:
        pass


@pytest.fixture
def process(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Let ``main`` run in this process: fakes for the cloud, a queue in memory for the broker."""
    monkeypatch.setattr(program, "connect", lambda _: Cloud(world))
    monkeypatch.setattr(program, "configure_logging", lambda *_, **__: None)
    monkeypatch.setenv("REDIS_URL", "memory://")
    monkeypatch.setenv(
        "RONDO_PREFIX", world.app.conf.task_default_queue.removesuffix("-aggregator")
    )
    handlers = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    yield monkeypatch
    for number, handler in zip((signal.SIGTERM, signal.SIGINT), handlers, strict=True):
        signal.signal(number, handler)


def test_the_intake_turns_messages_into_tasks_and_sweeps(
    world: World, process: pytest.MonkeyPatch
) -> None:
    def run_once(
        *,
        source: Any,
        handlers: Mapping[Any, Any],
        sweep: Callable[[], None],
        sweep_seconds: float,
        settings: ServiceSettings,
        metrics: Metrics,
    ) -> None:
        assert (sweep_seconds, settings.health_port) == (1.0, 9090)
        consume_once(source, handlers, metrics, wait_seconds=0)
        sweep()

    process.setattr(program, "run_worker", run_once)
    process.setattr("sys.argv", ["rondo-aggregator", "intake"])
    seal_three(world)
    world.bus.publish(
        UpdateSubmitted(
            event_id="UpdateSubmitted/run-1/1/1/ada",
            run_id="run-1",
            occurred_at=world.clock.now(),
            round=1,
            attempt=1,
            client_id="ada",
            sha256="0" * 64,
        )
    )

    program.main()

    assert [task.task for task in world.asked()] == ["rondo.validate"]


def test_the_worker_runs_tasks_with_the_ports_that_it_opened(
    world: World, process: pytest.MonkeyPatch
) -> None:
    seen: dict[str, Any] = {}

    def serve(settings: ServiceSettings, health: Health, metrics: Metrics) -> Server:
        seen.update(port=settings.health_port, health=health, metrics=metrics)
        return Server()

    def work_once(app: Celery, argv: list[str]) -> None:
        assert "worker" in argv
        worker_process_init.send(sender=None)
        worker_ready.send(sender=None)
        seen["ready"] = seen["health"].ready.is_set()
        app.tasks["rondo.combine"]("run-1", 1, 1, take_over=None)
        worker_shutting_down.send(sender=None)

    process.setattr(celery_worker, "serve_health", serve)
    process.setattr(Celery, "worker_main", work_once)
    process.setattr("sys.argv", ["rondo-aggregator", "worker"])
    process.setenv("HEALTH_PORT", "9191")
    seal_three(world)

    program.main()

    assert world.round().state == "COMMITTED"
    assert len(world.published(VersionCommitted)) == 1
    assert (seen["port"], seen["ready"], seen["health"].ready.is_set()) == (9191, True, False)
    assert b"rondo_versions_committed_total" in generate_latest(seen["metrics"].registry)


def test_settings_that_are_missing_are_named(process: pytest.MonkeyPatch) -> None:
    process.setattr("sys.argv", ["rondo-aggregator", "worker"])
    process.delenv("REDIS_URL")

    with pytest.raises(SettingsInvalid, match="REDIS_URL is missing"):
        program.main()


def test_an_unknown_process_is_refused(
    process: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    process.setattr("sys.argv", ["rondo-aggregator", "both"])

    with pytest.raises(SystemExit):
        program.main()

    assert "invalid choice: 'both'" in capsys.readouterr().err
