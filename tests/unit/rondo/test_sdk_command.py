"""The `rondo` command as a whole: help, errors, tokens, and what it hands on."""

import json
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from rondo.cli import commands
from rondo.commands.seams import Seams
from tests.unit.rondo.fake_gateway import TOKEN
from tests.unit.rondo.fake_operator_api import Command, FakeOperatorApi, error_of


def tree(group: click.Group, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = []
    for name, command in group.commands.items():
        inner = tree(command, (*path, name)) if isinstance(command, click.Group) else []
        found += inner or [(*path, name)]
    return found


def test_the_commands_are_these() -> None:
    assert sorted(" ".join(path) for path in tree(commands)) == [
        "client join",
        "client work",
        "demo",
        "model invite",
        "model list",
        "model register",
        "model show",
        "predict",
        "run list",
        "run start",
        "run watch",
        "up",
        "version replay",
    ]


@pytest.mark.parametrize(
    "path", [p for p in tree(commands) if p[0] not in {"demo", "up", "version"}]
)
def test_every_command_has_help_and_json(command: Command, path: tuple[str, ...]) -> None:
    text = command(*path, "--help").stdout

    assert "--json" in text
    assert "--url" in text


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "start"),
        ("run", "start", "line", "--rounds", "none"),
        ("run", "start", "line", "--rounds", "0"),
        ("run", "start", "line", "--training", "epochs"),
        ("client", "work", "--data", "not-there.csv"),
        ("predict", "line", "not-there.csv"),
        ("model", "show"),
        ("sing",),
    ],
)
def test_a_wrong_command_line_is_exit_code_2(command: Command, arguments: Sequence[str]) -> None:
    assert "Error" in command(*arguments, expect=2).stderr


def test_what_the_gateway_refuses_is_one_line_and_exit_code_1(command: Command) -> None:
    result = command("run", "watch", "nowhere", expect=1)

    assert result.stdout == ""
    assert "no run 'nowhere' (not-found, correlation id c0ffee)" in error_of(result)


def test_without_a_token_one_is_told_where_it_belongs(command: Command, seams: Seams) -> None:
    result = command("run", "list", expect=1, given=Seams(transport=seams.transport, environ={}))

    assert "set RONDO_TOKEN" in error_of(result)


@pytest.mark.parametrize("place", ["build/local/operator-token", ".rondo/operator-token"])
def test_the_token_is_found_where_the_local_stack_or_the_operator_puts_it(
    command: Command, api: FakeOperatorApi, tmp_path: Path, place: str
) -> None:
    path = tmp_path / place
    path.parent.mkdir(parents=True)
    path.touch(0o600)
    path.write_text(f"{TOKEN}\n")

    result = command("run", "list", "--json", given=Seams(transport=api, environ={}))

    assert json.loads(result.stdout) == []


def test_a_token_file_that_others_can_read_is_not_used(
    command: Command, api: FakeOperatorApi, tmp_path: Path
) -> None:
    path = tmp_path / "token"
    path.write_text(TOKEN)
    path.chmod(0o644)

    result = command("run", "list", "--token-file", "token", expect=1)

    assert "can be read by others" in error_of(result)
    assert api.requests == []


@pytest.mark.parametrize("name", ["up", "demo"])
def test_up_and_demo_are_handed_on_with_all_their_options(command: Command, name: str) -> None:
    became: list[list[str]] = []
    seams = Seams(become=lambda argv: became.append(list(argv)), environ={})

    command(name, "--keep", "--help", "x", given=seams)

    assert became == [[sys.executable, "-m", "rondo_local", name, "--keep", "--help", "x"]]


def test_without_the_local_distribution_one_is_told_how_to_get_it(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rondo.commands.stack.LOCAL", "rondo_local_that_is_not_there")

    assert "needs the distribution rondo-local" in error_of(command("up", expect=1))


def test_a_replay_is_handed_on_to_the_aggregator(command: Command) -> None:
    became: list[list[str]] = []
    seams = Seams(become=lambda argv: became.append(list(argv)), environ={})

    command("version", "replay", "digits-1/3", "--without", "eve", given=seams)

    words = ["replay", "digits-1/3", "--without", "eve"]
    assert became == [[sys.executable, "-m", "rondo_aggregator", *words]]


def test_without_the_aggregator_one_is_told_where_a_replay_runs(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rondo.commands.version.AGGREGATOR", "rondo_aggregator_not_there")

    told = error_of(command("version", "replay", "digits-1/3", "--without", "eve", expect=1))

    assert "exec aggregator-worker rondo-aggregator replay digits-1/3 --without eve" in told


def test_the_program_without_seams_uses_the_world(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RONDO_URL", "nonsense")
    monkeypatch.setenv("RONDO_TOKEN", "t")

    result = CliRunner().invoke(commands, ["run", "list"])

    assert result.exit_code == 1
    assert "'nonsense' is not an address" in error_of(result)


def test_the_script_and_the_module_are_the_same_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["rondo", "--version"])

    with pytest.raises(SystemExit) as ended:
        runpy.run_module("rondo", run_name="__main__")

    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("rondo, version ")
