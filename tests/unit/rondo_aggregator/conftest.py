"""What the aggregator's tests share."""

from pathlib import Path

import pytest

from tests.unit.rondo_aggregator.aggregator_world import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)
