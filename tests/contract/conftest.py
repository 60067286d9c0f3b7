"""One harness a technology and module, each under a prefix of its own."""

import os
import secrets

import pytest

from tests.contract.harness import Harness, aws_harness, memory_harness

_CHOSEN = os.environ.get("RONDO_TEST_AWS")
_EMULATORS = ["ministack", "localstack"] if _CHOSEN is None else [_CHOSEN]


@pytest.fixture(scope="module", params=["memory", *_EMULATORS])
def ports(request: pytest.FixtureRequest) -> Harness:
    if request.param == "memory":
        return memory_harness()
    return aws_harness(request.getfixturevalue(request.param), f"c{secrets.token_hex(4)}")


@pytest.fixture
def name() -> str:
    """A run id, partition or folder that no other test uses."""
    return f"t{secrets.token_hex(6)}"
