"""What the dispatcher's tests share."""

import pytest

from tests.unit.rondo_dispatcher.world import World


@pytest.fixture
def world() -> World:
    return World()
