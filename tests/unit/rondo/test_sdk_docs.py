"""The guide agrees with the SDK: its commands, options and names exist."""

import ast
import re
from pathlib import Path

import click
import pytest

import rondo
from rondo.cli import commands

GUIDE = (Path(__file__).parents[3] / "docs" / "sdk.md").read_text("utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
ROWS = re.findall(r"^\| (`rondo .*?) \|", GUIDE, re.MULTILINE)


@pytest.mark.parametrize("code", BLOCKS)
def test_every_snippet_is_python_and_uses_public_names(code: str) -> None:
    used = {
        node.attr
        for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "rondo"
    }

    assert used <= set(rondo.__all__)


@pytest.mark.parametrize("row", ROWS)
def test_every_command_of_the_table_exists_with_its_options(row: str) -> None:
    group: click.Command = commands
    for text in re.findall(r"`([^`]+)`", row):
        words = text.removeprefix("rondo ").split()
        if text.startswith("rondo "):
            group = commands
        command: click.Command = group
        for word in words:
            if isinstance(command, click.Group):
                group, command = command, command.commands[word]
        options = {name for parameter in command.params for name in parameter.opts}
        named = {word.strip("[]") for word in words if word.strip("[]").startswith("--")}
        assert named <= options, text


def test_the_table_names_every_command() -> None:
    words = set(re.findall(r"\w+", " ".join(ROWS)))

    for name, command in commands.commands.items():
        assert name in words
        if isinstance(command, click.Group):
            assert set(command.commands) <= words
