"""A whole stack, started once per emulator and module: every service a real process."""

from collections.abc import Iterator

import pytest

from rondo_local.environments import checkout
from rondo_local.stack import Plan, Stack, running


@pytest.fixture(scope="package")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    plan = Plan(folder=tmp_path_factory.mktemp("stack"), build_folder=checkout() / "build")
    with running(plan) as started:
        yield started


@pytest.fixture(scope="package")
def localstack_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    plan = Plan(
        folder=tmp_path_factory.mktemp("localstack-stack"),
        build_folder=checkout() / "build",
        aws="localstack",
    )
    with running(plan) as started:
        yield started
