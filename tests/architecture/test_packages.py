"""What must stay true of every package, whoever writes it."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture import import_each
from tests.architecture.packages import ROOT, modules, packages

_EMPTY_NAMES = {"common", "helper", "helpers", "manager", "misc", "util", "utils"}

each_package = pytest.mark.parametrize("package", packages(), ids=lambda folder: folder.name)


def test_every_package_of_the_tree_is_found() -> None:
    services = {"aggregator", "dispatcher", "evaluator", "gateway", "inference"}
    expected = {"rondo", "rondo_core", "rondo_local"} | {f"rondo_{name}" for name in services}

    assert expected <= {folder.name for folder in packages()}


@each_package
def test_imports_need_no_environment_and_no_network(package: Path) -> None:
    # Not wholly empty: without this one, onnxruntime's own code may call home.
    environment = {"ORT_DISABLE_TELEMETRY": "1"}

    done = _import_each(modules(package), environment)

    assert (done.stdout, done.returncode) == ("", 0), done.stderr[-2000:]


def test_an_import_that_reads_the_environment_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "rondo_bad.py").write_text("import os\nHOST = os.getenv('HOST', 'here')\n")

    done = _import_each(["rondo_bad"], {"PYTHONPATH": str(tmp_path)})

    assert done.stdout == "rondo_bad reads HOST from the environment\n"


def test_an_import_that_opens_a_connection_is_noticed(tmp_path: Path) -> None:
    line = "import socket\nsocket.create_connection(('127.0.0.1', 9))\n"
    (tmp_path / "rondo_bad.py").write_text(line)

    done = _import_each(["rondo_bad"], {"PYTHONPATH": str(tmp_path)})

    assert "rondo_bad uses the network: socket." in done.stdout


@each_package
def test_no_module_is_named_for_everything_and_nothing(package: Path) -> None:
    vague = [name for name in modules(package) if _EMPTY_NAMES & set(name.split("."))]

    assert vague == []


@each_package
def test_a_package_says_that_it_is_typed(package: Path) -> None:
    assert (package / "py.typed").read_bytes() == b""


@each_package
def test_an_init_is_a_docstring_and_a_sorted_all(package: Path) -> None:
    inits = sorted(package.rglob("__init__.py"))

    assert [str(init.relative_to(package)) for init in inits if not _is_plain(init)] == []


def test_constraints_are_exact_and_hold_no_address() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()

    assert [line for line in lines if not re.fullmatch(r"[a-z0-9.-]+==[^\s/]+", line)] == []


def _import_each(
    names: list[str], environment: dict[str, str]
) -> "subprocess.CompletedProcess[str]":
    argv = [sys.executable, import_each.__file__, *names]
    return subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)


def _is_plain(init: Path) -> bool:
    """Whether the file is a docstring, imports and one literal, sorted ``__all__``."""
    tree = ast.parse(init.read_text())
    body = [part for part in tree.body if not isinstance(part, ast.Import | ast.ImportFrom)]
    if ast.get_docstring(tree) is None or len(body) != 2:
        return False
    match body[1]:
        case ast.Assign(targets=[ast.Name(id="__all__")], value=value):
            names = ast.literal_eval(value)
        case ast.AnnAssign(target=ast.Name(id="__all__"), value=ast.expr() as value):
            names = ast.literal_eval(value)
        case _:
            return False
    return bool(names == sorted(names))
