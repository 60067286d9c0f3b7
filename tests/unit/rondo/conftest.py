"""A small model, data that it fits, and a gateway that lives in the test."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import rondo
from rondo import Federation
from rondo.cli import commands
from rondo.commands.seams import Seams
from rondo_core.model_spec import ModelSpec, parse_model_spec
from rondo_core.testing import ManualClock
from tests.unit.rondo.fake_gateway import TOKEN, URL, Connect, FakeGateway
from tests.unit.rondo.fake_operator_api import Command, FakeOperatorApi

SPEC = b"""{
  "model": "line",
  "input": {"kind": "table", "columns": [
    {"kind": "number", "name": "a"}, {"kind": "number", "name": "b"}]},
  "layers": [{"kind": "Dense", "name": "out", "units": 1}],
  "output": {"kind": "number", "name": "y"},
  "loss": "mean_squared_error",
  "metrics": ["mean_absolute_error"],
  "seed": 7
}"""


@pytest.fixture
def spec() -> ModelSpec:
    return parse_model_spec(SPEC)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def gateway(spec: ModelSpec, clock: ManualClock) -> FakeGateway:
    return FakeGateway(spec, clock)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def connect(gateway: FakeGateway, clock: ManualClock, home: Path) -> Connect:
    """Each call is a program that is started anew on the same machine."""

    def again() -> Federation:
        return rondo.connect(
            URL, "line.first-invite", "north", home=home, transport=gateway, clock=clock
        )

    return again


@pytest.fixture
def api(spec: ModelSpec, clock: ManualClock) -> FakeOperatorApi:
    return FakeOperatorApi(spec, clock)


@pytest.fixture
def seams(api: FakeOperatorApi, clock: ManualClock) -> Seams:
    return Seams(transport=api, clock=clock, environ={"RONDO_TOKEN": TOKEN})


@pytest.fixture
def command(seams: Seams, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.setenv("RONDO_HOME", str(home))
    monkeypatch.setenv("RONDO_URL", URL)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, expect: int = 0, given: Seams = seams) -> Result:
        result = CliRunner().invoke(commands, arguments, obj=given)
        assert result.exit_code == expect, result.output
        return result

    return run
