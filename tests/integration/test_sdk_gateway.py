"""The SDK against the real gateway, over HTTP: the same behaviours as against the fake one."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

import rondo
from rondo.enrolment import connect
from rondo_core.keys import UPDATE_PREFIX, attempt_pk, version_key
from rondo_core.model_spec import ModelSpec, parse_model_spec
from rondo_core.model_store import weights_key
from rondo_core.rows import VersionRow, from_item
from rondo_core.weights import decode, layout_of_file
from tests.integration import sdk_client_program
from tests.integration.sdk_stack import TOKEN, SdkStack, sdk_stack
from tests.unit.rondo.conftest import SPEC
from tests.unit.rondo.linear import CountingTrainer, line_data, line_trainer

SECONDS = 60
Join = Callable[[str], rondo.Federation]


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[SdkStack]:
    with sdk_stack(tmp_path) as running:
        yield running


@pytest.fixture
def operator(stack: SdkStack) -> Iterator[rondo.Operator]:
    with rondo.Operator(stack.url, TOKEN) as found:
        found.register_model(parse_model_spec(SPEC), *line_data(20, seed=9))
        yield found


@pytest.fixture
def join(stack: SdkStack, operator: rondo.Operator, tmp_path: Path) -> Iterator[Join]:
    with ExitStack() as opened:

        def named(name: str) -> rondo.Federation:
            (invite,) = operator.invites("line")
            federation = rondo.connect(stack.url, invite, name, home=tmp_path / name)
            return opened.enter_context(federation)

        yield named


def final_weights(stack: SdkStack, run_id: str, version: int) -> np.ndarray:
    item = stack.store.get(version_key(run_id, version))
    assert item is not None
    data = stack.objects.get(weights_key(from_item(item, VersionRow).sha256))
    return decode(data, layout_of_file(data))


def test_three_clients_learn_one_model_and_hear_that_it_is_promoted(
    stack: SdkStack, operator: rondo.Operator, join: Join
) -> None:
    run_id = operator.start_run("line", rounds=10, target=3, quorum=3, training={"epochs": 5})
    names = ("north", "south", "west")

    with ThreadPoolExecutor(3) as threads:
        results = list(
            threads.map(
                lambda name: join(name).train(trainer=line_trainer(), progress=False), names
            )
        )

    for result in results:
        assert (result.run_id, result.state) == (run_id, "FINISHED")
        assert result.promoted
        assert [entry.verdict for entry in result.rounds] == ["accepted"] * 10
        assert result.rounds[0].federation["examples"] == 30.0
    np.testing.assert_allclose(final_weights(stack, run_id, 10), [2, -1, 1], atol=0.05)
    views = list(operator.watch(run_id))
    assert (views[-1].state, views[-1].head, len(views[-1].versions)) == ("FINISHED", 10, 11)
    assert operator.runs()[0].run_id == run_id
    assert len(operator.model("line").clients) == 3


def test_a_gateway_that_is_restarted_in_the_middle_costs_a_pause(
    stack: SdkStack, operator: rondo.Operator, join: Join
) -> None:
    class Restarting(CountingTrainer):
        def train(self, weights, task):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
            if task.round == 2:
                stack.stop_gateway()
                threading.Timer(0.5, stack.start_gateway).start()
            return super().train(weights, task)

    operator.start_run("line", rounds=3, target=1)

    result = join("north").train(trainer=Restarting(), progress=False)

    assert [entry.verdict for entry in result.rounds] == ["accepted"] * 3


def test_a_killed_client_sends_the_same_bytes_when_it_is_started_again(
    stack: SdkStack, operator: rondo.Operator, tmp_path: Path
) -> None:
    (invite,) = operator.invites("line")
    uploading = threading.Event()
    killed = threading.Event()
    puts: list[int] = []

    def before_put() -> None:
        puts.append(1)
        if len(puts) == 1:
            uploading.set()
            assert killed.wait(SECONDS)

    stack.before_put = before_put
    operator.start_run("line", rounds=2, target=1)
    log = tmp_path / "trained"
    argv = [sys.executable, sdk_client_program.__file__, stack.url, invite, "north"]
    argv += [str(tmp_path / "home"), str(log)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    first = subprocess.Popen(argv, env=environment)
    assert uploading.wait(SECONDS)
    (file,) = (tmp_path / "home").rglob("update.safetensors")
    on_disk = file.read_bytes()
    first.send_signal(signal.SIGKILL)
    assert first.wait(SECONDS) == -signal.SIGKILL
    killed.set()

    done = subprocess.run(
        argv, env=environment, capture_output=True, text=True, timeout=SECONDS, check=True
    )

    assert done.stdout == "FINISHED accepted accepted\n"
    assert log.read_text().split() == ["1", "2"]
    stored = [
        stack.objects.get(str(item["key"]))
        for item in stack.store.query(attempt_pk(operator.runs()[0].run_id, 1, 1), UPDATE_PREFIX)
    ]
    assert stored == [on_disk]


def test_an_update_that_is_not_finite_is_rejected_with_the_layer_and_the_run_fails(
    operator: rondo.Operator, join: Join
) -> None:
    class Diverging(CountingTrainer):
        def train(self, weights, task):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
            del task
            return {name: array * np.nan for name, array in weights.items()}, 1

    operator.start_run("line", rounds=1, target=1)

    result = join("north").train(trainer=Diverging(), progress=False)

    assert result.state == "FAILED"
    assert {entry.verdict for entry in result.rounds} == {"rejected"}
    assert "out/kernel" in (result.rounds[0].reason or "")


def test_what_the_real_gateway_refuses_arrives_with_its_code(
    stack: SdkStack,
    operator: rondo.Operator,
    tmp_path: Path,
) -> None:
    (invite,) = operator.invites("line")
    connect(stack.url, invite, "north", home=tmp_path / "first").close()

    with pytest.raises(rondo.Unauthorized) as used_up:
        connect(stack.url, invite, "north", home=tmp_path / "second")
    with pytest.raises(rondo.NotFound) as unknown:
        connect(stack.url, "line.never-given-out", "north", home=tmp_path / "third")
    with pytest.raises(rondo.NotFound):
        operator.run("nowhere")
    with pytest.raises(rondo.Invalid, match="rounds"):
        operator.start_run("line", rounds=0)
    with rondo.Operator(stack.url, "guessed") as stranger, pytest.raises(rondo.Unauthorized):
        stranger.runs()

    assert used_up.value.code == "invite-used-up"
    assert isinstance(unknown.value, rondo.GatewayError)
    assert unknown.value.code == "invite-unknown"


def test_the_spec_reaches_a_factory_over_the_wire(operator: rondo.Operator, join: Join) -> None:
    specs: list[ModelSpec] = []

    def make(spec: ModelSpec) -> CountingTrainer:
        specs.append(spec)
        return CountingTrainer()

    operator.start_run("line", rounds=1, target=1)

    join("north").train(trainer=make, progress=False)

    assert specs == [parse_model_spec(SPEC)]
