"""The whole loop in containers: by the README's commands, and with every service killed on the way.

The tests go on from each other's runs, in this order.
"""

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import httpx
import numpy as np
import pytest

import rondo
from rondo_core.operator_wire import RunView
from rondo_local.demo.data import load
from tests.containers.engine import (
    PROJECT,
    SCALE,
    compose,
    docker,
    environment,
    inspect,
    until,
)
from tests.deploy.compose import compose_file, ours
from tests.e2e.people import SPEC, SoftmaxRegression, digits
from tests.readme import run_snippet

pytestmark = [pytest.mark.timeout(1200), pytest.mark.usefixtures("stack")]

GATEWAY = "http://127.0.0.1:8080"
TOKEN = "only-for-this-machine"
SERVICES = tuple(
    name for name, one in ours(compose_file()).items() if one.get("restart") == "unless-stopped"
)
VICTIMS = ("gateway", "dispatcher", "aggregator", "aggregator-worker", "redis", "inference")
"""Killed while rounds go on, one after the other; the evaluator while it judges."""


@pytest.fixture
def operator() -> Iterator[rondo.Operator]:
    with rondo.Operator(GATEWAY, TOKEN) as one:
        yield one


def containers(service: str) -> list[str]:
    return compose("ps", "--all", "--quiet", service).split()


def replicas() -> list[str]:
    """Return inference's addresses on this machine."""
    ports = [
        inspect(one)["NetworkSettings"]["Ports"]["8081/tcp"] for one in containers("inference")
    ]
    return [f"http://127.0.0.1:{port['HostPort']}" for (port,) in ports]


def ask_every_replica(operator: rondo.Operator, version: int) -> None:
    """Both replicas answer the holdout with this version, as well as the evaluator measured."""
    holdout, measured = load().holdout, operator.model("digits").metrics["accuracy"]
    assert len(replicas()) == 2
    for url in replicas():
        until(f"{url} answers with version {version}", partial(answers_with, url, version))
        answer = ask(url, holdout.x)
        assert answer.headers["X-Rondo-Version"] == str(version)
        guesses = np.array(answer.json()["predictions"]).argmax(axis=1)
        share = float((guesses == holdout.y).mean())
        print(f"{url}: version {version}, {share:.1%} of the holdout")
        assert abs(share - measured) < 1 / len(guesses)


def answers_with(url: str, version: int) -> bool:
    """Return whether a replica, which may just have been started again, has come to a version."""
    with suppress(httpx.HTTPError):
        told = ask(url, load().holdout.x[:1]).headers
        return bool(told.get("X-Rondo-Version") == str(version))
    return False


def ask(url: str, pictures: np.ndarray) -> httpx.Response:
    body = {"instances": pictures.tolist()}
    return httpx.post(f"{url}/v1/models/digits:predict", json=body, timeout=60)


def test_nothing_is_made_twice_when_bootstrap_runs_again() -> None:
    first = docker("logs", *containers("bootstrap"))

    again = compose("run", "--rm", "--no-TTY", "bootstrap")

    assert json.loads(first) == json.loads(again[again.index("{") :])


def test_a_client_on_the_host_takes_part(operator: rondo.Operator, tmp_path: Path) -> None:
    """As a notebook would: the links that it gets name the store as this machine reaches it."""
    holdout = digits(0, 5)
    operator.register_model(SPEC, holdout.x, holdout.y)
    (invite,) = operator.invites("scans")
    run_id = operator.start_run("scans", rounds=2, target=1, quorum=1)

    with rondo.connect(GATEWAY, invite=invite, name="host", home=tmp_path) as federation:
        result = federation.train(trainer=SoftmaxRegression(digits(1, 5)), progress=False)

    assert (result.run_id, result.state, result.promoted) == (run_id, "FINISHED", True)


def test_four_owners_in_containers_train_what_both_replicas_serve(
    operator: rondo.Operator,
) -> None:
    compose("up", "--detach", "--no-recreate", *SCALE, "demo")

    until("the demo ended", lambda: inspect(*containers("demo"))["State"]["Status"] == "exited")

    told = docker("logs", *containers("demo"))
    print(told)
    assert inspect(*containers("demo"))["State"]["ExitCode"] == 0, told
    assert "published RunRequested digits-" in told
    assert (
        len(re.findall(r"^http://[\d.]+:8081: version 1 reads \d+ of 359", told, re.MULTILINE)) == 2
    )
    assert len(operator.model("digits").clients) == 4
    ask_every_replica(operator, 1)


def test_the_readmes_message_starts_a_run_that_outlives_every_service(
    operator: rondo.Operator, aws_folder: Path
) -> None:
    sent = json.loads(run_snippet("sns publish", environment(aws_folder)))
    assert sent["MessageId"]
    killed = {name: containers(name)[0] for name in (*VICTIMS, "evaluator")}

    for number, name in enumerate(VICTIMS, start=1):
        until(f"round {number} is committed", partial(has_come_to, operator, number))
        kill_and_start(killed[name])
    until("the last round is committed", partial(has_come_to, operator, 12))
    kill_and_start(killed["evaluator"])
    until("the run is over", lambda: view(operator).state in {"FINISHED", "FAILED"})

    assert (view(operator).state, view(operator).reason) == ("FINISHED", "promoted as version 2")
    attempts = [(one.round, one.state) for one in view(operator).attempts if one.state != "ABORTED"]
    assert attempts == [(number, "COMMITTED") for number in range(1, 13)]
    ask_every_replica(operator, 2)


def view(operator: rondo.Operator) -> RunView:
    return operator.run("digits-1")


def has_come_to(operator: rondo.Operator, number: int) -> bool:
    """Return whether so many rounds of the run are committed; False while nobody can tell."""
    with suppress(rondo.NotFound, rondo.Unavailable):
        return view(operator).head >= number
    return False


def kill_and_start(container: str) -> None:
    """SIGKILL, and start it again, as an orchestrator would."""
    docker("kill", container)
    docker("start", container)


def test_the_readmes_question_is_answered(aws_folder: Path) -> None:
    answer = json.loads(run_snippet('curl -s "http://$(docker', environment(aws_folder)))

    assert int(np.argmax(answer["predictions"][0])) == 7


def test_every_line_that_a_service_writes_to_stdout_is_json() -> None:
    for name in SERVICES:
        for container in containers(name):
            lines = docker("logs", container, check=False).splitlines()
            assert lines
            assert {json.loads(line)["service"].partition("-")[0] for line in lines} == {
                name.partition("-")[0]
            }


def test_every_service_ends_by_itself_when_it_is_asked_to() -> None:
    compose("stop", "--timeout", "30")

    codes = {
        name: {inspect(one)["State"]["ExitCode"] for one in containers(name)} for name in SERVICES
    }

    assert codes == {name: {0} for name in SERVICES}


def test_down_leaves_nothing() -> None:
    volumes = docker("volume", "ls", "--quiet").split()
    mounted = {
        mount["Name"]
        for one in compose("ps", "--all", "--quiet").split()
        for mount in inspect(one)["Mounts"]
        if mount["Type"] == "volume"
    }

    compose("down")

    of_project = ("--quiet", "--filter", f"label=com.docker.compose.project={PROJECT}")
    assert docker("ps", "--all", *of_project) == ""
    assert docker("network", "ls", *of_project) == ""
    assert docker("volume", "ls", *of_project) == ""
    assert mounted & {*volumes} == set()
