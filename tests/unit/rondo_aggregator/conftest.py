"""What the aggregator's tests share."""

from pathlib import Path

import pytest
from celery.signals import worker_process_init, worker_ready, worker_shutting_down

from tests.unit.rondo_aggregator.aggregator_world import World


@pytest.fixture(autouse=True)
def _no_other_apps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Celery's signals reach every app of a process, so also those of earlier tests."""
    for signal in (worker_process_init, worker_ready, worker_shutting_down):
        monkeypatch.setattr(signal, "receivers", [])


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)
