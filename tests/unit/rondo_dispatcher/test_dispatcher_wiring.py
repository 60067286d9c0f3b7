"""The settings, the table of handlers, and the one place where they are put together."""

from types import SimpleNamespace
from typing import Any

import pytest

from rondo_core.settings import read_settings
from rondo_core.topology import QUEUES
from rondo_dispatcher import main
from rondo_dispatcher.handlers.table import handler_table
from rondo_dispatcher.settings import Settings
from tests.unit.rondo_dispatcher.world import World, request


def test_every_event_of_the_queue_has_a_handler_and_no_other(world: World) -> None:
    (queue,) = [queue for queue in QUEUES if queue.service == "dispatcher"]

    assert set(handler_table(world.ports)) == set(queue.receives)


def test_settings_come_from_the_environment() -> None:
    settings = read_settings(Settings, {"SWEEP_SECONDS": "0.25", "RONDO_PREFIX": "demo"})

    assert (settings.sweep_seconds, settings.rondo_prefix) == (0.25, "demo")
    assert read_settings(Settings, {}).sweep_seconds == 1.0


def test_main_binds_the_ports_to_the_handlers(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = SimpleNamespace(
        run_store=world.store,
        model_store=world.models,
        publish=lambda source: world.publish if source == "rondo/dispatcher" else None,
        workflow=world.workflow,
        event_source=world.bus.source,
    )
    worked: dict[str, Any] = {}
    monkeypatch.setattr(main, "connect", lambda _settings: opened)
    monkeypatch.setattr(main, "run_worker", worked.update)
    monkeypatch.setattr(main, "configure_logging", lambda *_, **__: None)
    monkeypatch.setenv("SWEEP_SECONDS", "0.5")
    world.register()

    main.main()

    assert worked["sweep_seconds"] == 0.5
    asked = request()
    worked["handlers"][type(asked)]([asked])
    worked["sweep"]()
    assert world.run().state == "RUNNING"
    assert worked["source"] is world.bus.source("dispatcher")
