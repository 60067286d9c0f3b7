"""Session fixtures for the emulators: ``ministack``, ``localstack``, ``aws`` (both), ``redis_url``.

Each starts when a test first asks for it, on a port of its own, and stops with the session. For
quick runs ``RONDO_TEST_AWS=ministack`` leaves LocalStack out of ``aws``.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import pytest
from localstack_client.session import Session

from rondo_local.emulators import AwsName, start_aws, start_redis
from rondo_local.environments import checkout
from rondo_local.processes import Supervisor

__all__ = ["Aws", "aws", "localstack", "ministack", "redis_url", "start_emulator", "supervisor"]

_AWS_NAMES: tuple[AwsName, ...] = get_args(AwsName)


@dataclass(frozen=True, slots=True)
class Aws:
    """An emulator of this test session.

    Attributes:
        name: for messages only.
        endpoint_url: ``http://127.0.0.1:PORT``.
        region: the one region that is used.
        session: makes boto3 clients of it: ``session.client("s3")``.
        environment: what a program's environment needs so that its AWS calls go there.
    """

    name: AwsName
    endpoint_url: str
    region: str
    session: Session
    environment: dict[str, str]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test that asks for ``aws`` on every emulator, or on the one that was chosen."""
    if "aws" in metafunc.fixturenames:
        chosen = os.environ.get("RONDO_TEST_AWS")
        names = _AWS_NAMES if chosen is None else (chosen,)
        metafunc.parametrize("aws", names, indirect=True, scope="session")


@pytest.fixture(scope="session")
def supervisor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Supervisor]:
    with Supervisor(tmp_path_factory.mktemp("logs")) as running:
        yield running


@pytest.fixture(scope="session")
def ministack(supervisor: Supervisor, tmp_path_factory: pytest.TempPathFactory) -> Aws:
    return start_emulator("ministack", supervisor, tmp_path_factory.mktemp("ministack"))


@pytest.fixture(scope="session")
def localstack(supervisor: Supervisor, tmp_path_factory: pytest.TempPathFactory) -> Aws:
    return start_emulator("localstack", supervisor, tmp_path_factory.mktemp("localstack"))


@pytest.fixture(scope="session")
def aws(request: pytest.FixtureRequest) -> Aws:
    if request.param not in _AWS_NAMES:
        pytest.fail(f"RONDO_TEST_AWS is {request.param!r}, which is none of {_AWS_NAMES}")
    emulator: Aws = request.getfixturevalue(request.param)
    return emulator


@pytest.fixture(scope="session")
def redis_url(supervisor: Supervisor, tmp_path_factory: pytest.TempPathFactory) -> str:
    state_folder = tmp_path_factory.mktemp("redis")
    build_folder = checkout() / "build"
    return start_redis(supervisor, build_folder=build_folder, state_folder=state_folder).url


def start_emulator(name: AwsName, supervisor: Supervisor, state_folder: Path) -> Aws:
    """Start an emulator of a test's own, for tests that stop or break it."""
    build_folder = checkout() / "build"
    running = start_aws(name, supervisor, build_folder=build_folder, state_folder=state_folder)
    session = Session(
        aws_access_key_id="test",
        aws_secret_access_key="test",
        aws_session_token=None,
        region_name=running.region,
        localstack_host=running.endpoint_url.removeprefix("http://"),
    )
    return Aws(running.name, running.endpoint_url, running.region, session, running.environment())
