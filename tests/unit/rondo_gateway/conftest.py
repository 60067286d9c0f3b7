from collections.abc import Iterator

import pytest

from tests.unit.rondo_gateway.gateway_http import Http
from tests.unit.rondo_gateway.gateway_world import World


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def http(world: World) -> Iterator[Http]:
    with Http(world.app) as client:
        yield client
