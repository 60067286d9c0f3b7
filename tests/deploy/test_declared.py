"""What a package imports is declared by its distribution, and what is declared is used."""

import ast
from collections.abc import Iterator
from importlib.metadata import packages_distributions

import pytest
from packaging.utils import canonicalize_name

from tests.deploy.closures import PROJECTS, Closure, Project

COMES_WITH = {
    "botocore": "boto3",
    "googleapis-common-protos": "protobuf",  # is not imported, and shares the name "google" with it
    "kombu": "celery",
    "starlette": "fastapi",
    # Of all these only the API is imported; they share the name "opentelemetry".
    **{
        f"opentelemetry-{part}": "opentelemetry-sdk"
        for part in (
            "api",
            "exporter-http-transport",
            "exporter-otlp-common",
            "exporter-otlp-proto-common",
            "proto",
            "semantic-conventions",
        )
    },
}
"""Imported without being declared, since it is part of what the other one offers."""

USED_UNSEEN = {
    # by Keras when it exports; by the contract suites and the tests
    "rondo-core": {"hypothesis", "localstack-client", "pytest", "safetensors", "tf2onnx"},
    "rondo-gateway": {"httptools", "uvloop"},  # by uvicorn, which is told their names
    "rondo-local": {"uv"},  # as a program
}

each_project = pytest.mark.parametrize("project", PROJECTS.values(), ids=lambda one: one.name)


@each_project
def test_what_is_imported_is_declared(project: Project) -> None:
    closures = [Closure(project.name, extra) for extra in project.extras]
    declared = {name for closure in closures for name in closure.requirements() | {*closure.ours()}}

    needed = {COMES_WITH.get(name, name) for name in imported(project)}

    assert needed - declared == set()


@each_project
def test_what_is_declared_is_used(project: Project) -> None:
    declared = {
        canonicalize_name(needed.name) for extra in project.extras.values() for needed in extra
    }

    assert declared - imported(project) == USED_UNSEEN.get(project.name, set())


def imported(project: Project) -> set[str]:
    """Names of the distributions whose modules the package imports when it runs."""
    ours = {one.package.name: [one.name] for one in PROJECTS.values()}  # editable: not found else
    owners = {**packages_distributions(), **ours}
    found = {
        owner
        for file in project.package.rglob("*.py")
        for name in _imports(ast.parse(file.read_text()))
        for owner in owners.get(name.partition(".")[0], [])
    }
    return {canonicalize_name(name) for name in found}


def _imports(tree: ast.AST) -> Iterator[str]:
    """Names of the modules that are imported, but not those that only types are read from."""
    for node in ast.iter_child_nodes(tree):
        match node:
            case ast.If(test=ast.Name(id="TYPE_CHECKING")):
                continue
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=str(module)):
                yield module
            case _:
                yield from _imports(node)
