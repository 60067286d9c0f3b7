"""The quickstart programs, run as they are: an operator, an owner with Keras, one with NumPy."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO

import pytest

from tests.integration.sdk_stack import TOKEN, SdkStack, sdk_stack

EXAMPLES = Path(__file__).parents[2] / "examples"
SECONDS = 120
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[SdkStack]:
    with sdk_stack(tmp_path) as running:
        yield running


@pytest.fixture
def start(stack: SdkStack, tmp_path: Path) -> Iterator[Start]:
    with ExitStack() as programs:

        def program(name: str, **variables: str) -> "subprocess.Popen[str]":
            environment = {
                **os.environ,
                "RONDO_HOME": str(tmp_path / "home"),
                "RONDO_URL": stack.url,
                **variables,
            }
            started = programs.enter_context(
                subprocess.Popen(
                    [sys.executable, str(EXAMPLES / name)],
                    env=environment,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            programs.callback(started.kill)
            return started

        yield program


def lines_of(program: "subprocess.Popen[str]") -> IO[str]:
    assert program.stdout is not None
    return program.stdout


def test_an_owner_with_keras_and_one_with_numpy_learn_all_digits_together(start: Start) -> None:
    operator = start("quickstart_operator.py", RONDO_TOKEN=TOKEN)
    invites = [lines_of(operator).readline().split()[1] for _ in range(2)]
    owners = [
        start("quickstart.py", RONDO_INVITE=invites[0]),
        start("quickstart_numpy.py", RONDO_INVITE=invites[1]),
    ]

    told = [program.communicate(timeout=SECONDS)[0].splitlines() for program in (*owners, operator)]

    assert [program.returncode for program in (*owners, operator)] == [0, 0, 0]
    for lines in told[:2]:
        assert sum(line.startswith("round ") for line in lines) == 8
        assert lines[-1].startswith("FINISHED promoted as version")
    accuracies = [float(line.split()[-1]) for line in told[2] if "accuracy" in line]
    assert accuracies[-1] > 0.7
