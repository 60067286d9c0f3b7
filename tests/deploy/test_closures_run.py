"""A whole run by programs that each have their own dependencies only.

What an import in a function, a plug-in by name or a program of its own would miss, shows here.
"""

import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from rondo_local.processes import Program, Supervisor
from rondo_local.readiness import await_ready, free_port, http_answers
from tests.deploy import owner
from tests.deploy.closures import Closure, Install
from tests.emulators import Aws

TOKEN = "operators-only-and-nobody-else"
PROCESSES = {
    "evaluator": (),  # first, since it takes longest
    "aggregator-intake": ("intake",),
    "aggregator-worker": ("worker",),
    "batch-intake": ("batch-intake",),
    "batch-worker": ("batch-worker",),
    "dispatcher": (),
    "gateway": (),
    "inference": (),
}
PROGRAMS = {"aggregator": "rondo-aggregator", "batch": "rondo-inference"}
"""Of processes that are not named for their service."""


@dataclass(frozen=True, slots=True)
class Fleet:
    """Where the processes answer."""

    ports: Mapping[str, int]

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.ports[name]}"


@pytest.fixture(scope="module")
def fleet(
    install_closure: Install,
    ministack: Aws,
    redis_url: str,
    supervisor: Supervisor,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Fleet]:
    common = {**ministack.environment, "RONDO_PREFIX": "closures"}
    local = install_closure(Closure("rondo-local"))
    made = local.run(local.python, "-m", "rondo_local.bootstrap", **common, OPERATOR_TOKEN=TOKEN)
    assert made.returncode == 0, made.stderr
    started = Fleet({name: free_port() for name in PROCESSES})
    for name, arguments in PROCESSES.items():
        service = PROGRAMS.get(name.partition("-")[0], f"rondo-{name}")
        port = str(started.ports[name])
        environment = {
            **common,
            "HEALTH_PORT": port,
            "HOME": str(tmp_path_factory.mktemp(name)),
            "ORT_DISABLE_TELEMETRY": "1",
            "PORT": port,
            "REDIS_URL": redis_url,
            "WORKER_PROCESSES": "1",
        }
        script = install_closure(Closure(service)).script(service)
        supervisor.start(Program(name, (script, *arguments), environment))
    for name in PROCESSES:
        await_ready(name, http_answers(f"{started.url(name)}/readyz"), supervisor)
    yield started
    with ThreadPoolExecutor(len(PROCESSES)) as threads:
        list(threads.map(supervisor.stop, PROCESSES))


def test_a_run_is_trained_promoted_and_served(
    fleet: Fleet, supervisor: Supervisor, install_closure: Install, tmp_path: Path
) -> None:
    sdk = install_closure(Closure("rondo"))
    rows = tmp_path / "rows.csv"
    rows.write_text("a\n0.5\n")

    trained = sdk.run(
        sdk.python, "-I", owner.__file__, fleet.url("gateway"), TOKEN, str(tmp_path / "home")
    )
    champion = f"{fleet.url('inference')}/v1/models/line/labels/champion"
    await_ready("inference", http_answers(champion), supervisor, deadline_seconds=30)
    asked = sdk.run(
        sdk.script("rondo"),
        *("predict", "line", str(rows), "--json", "--url", fleet.url("inference")),
    )

    assert trained.stdout == "FINISHED: promoted as version 1\n", trained.stderr
    assert asked.returncode == 0, asked.stderr
    assert json.loads(asked.stdout)["version"] == "1"
