"""Distributions as others install them: wheels in an empty environment, with what they ask for."""

import hashlib
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.architecture.packages import ROOT, modules

__all__ = ["CLOSURES", "Closure", "Install", "Installed", "Project", "build_wheels", "install"]

PINS = ROOT / "constraints.txt"

_OF_EXTRAS = {
    "rondo.keras_correction": "keras",
    "rondo.keras_trainer": "keras",
    "rondo.keras_training": "keras",
    "rondo_core.aws": "aws",
    "rondo_core.celery_worker": "celery",
    "rondo_core.consumer": "service",
    "rondo_core.health": "service",
    "rondo_core.heartbeat": "service",
    "rondo_core.keras": "keras",
    "rondo_core.keras.export": "export",
    "rondo_core.metrics_pipe": "service",
    "rondo_core.relay": "service",
    "rondo_core.service": "service",
    "rondo_core.spans": "tracing",
    "rondo_core.telemetry": "service",
    "rondo_core.testing": "testing",
    "rondo_inference.engines.litert": "litert",
    "rondo_inference.engines.saved_model": "tensorflow",
    "rondo_local.demo": "demo",
}
"""Modules, with all below them, that can be imported only where an extra was asked for."""


@dataclass(frozen=True, slots=True)
class Project:
    """One distribution of this checkout.

    Attributes:
        folder: where its ``pyproject.toml`` is.
        name: as it is asked for.
        extras: extra -> what it adds; what is always needed is the extra ``""``.
        scripts: names of its console scripts.
    """

    folder: Path
    name: str
    extras: dict[str, tuple[Requirement, ...]]
    scripts: tuple[str, ...]

    @property
    def package(self) -> Path:
        """Folder of its import package."""
        return self.folder / "src" / self.name.replace("-", "_")

    @property
    def modules(self) -> tuple[tuple[str, str], ...]:
        """Each module with the extra that it needs."""
        return tuple((name, _extra_of(name)) for name in modules(self.package))


@dataclass(frozen=True, slots=True)
class Closure:
    """A distribution with one of its extras, or bare: something that is installed somewhere."""

    name: str
    extra: str = ""

    def __str__(self) -> str:
        return f"{self.name}[{self.extra}]" if self.extra else self.name

    @property
    def project(self) -> Project:
        return PROJECTS[self.name]

    def ours(self) -> dict[str, set[str]]:
        """Which distributions of this checkout it holds, and with which of their extras."""
        found: dict[str, set[str]] = {}
        waiting = [Requirement(str(self))]
        while waiting:
            wanted = waiting.pop()
            name, project = canonicalize_name(wanted.name), PROJECTS.get(wanted.name)
            new = {"", *wanted.extras} - found.get(name, set())
            if project is not None and new:
                found.setdefault(name, set()).update(new)
                waiting += [needed for extra in new for needed in project.extras[extra]]
        return found

    def requirements(self) -> set[str]:
        """Names of what it asks of others, its own and those of our distributions in it."""
        return {
            str(canonicalize_name(needed.name))
            for name, extras in self.ours().items()
            for extra in extras
            for needed in PROJECTS[name].extras[extra]
        } - PROJECTS.keys()

    def modules(self) -> list[str]:
        """Every module of ours that can be imported where this is installed."""
        return [
            module
            for name, extras in sorted(self.ours().items())
            for module, extra in PROJECTS[name].modules
            if extra in extras
        ]


@dataclass(frozen=True, slots=True)
class Installed:
    """A closure in an environment of its own."""

    closure: Closure
    folder: Path

    @property
    def python(self) -> str:
        return str(self.folder / "bin" / "python")

    def script(self, name: str) -> str:
        return str(self.folder / "bin" / name)

    def holds(self) -> set[str]:
        """Names of all distributions in it."""
        (packages,) = (self.folder / "lib").glob("python3.*/site-packages")
        found = distributions(path=[str(packages)])
        return {canonicalize_name(one.metadata["Name"]) for one in found}

    def run(self, *argv: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        """Run a program to its end, away from the checkout, in nearly no environment."""
        return subprocess.run(
            argv,
            cwd=self.folder,
            env={"HOME": str(self.folder), "PATH": os.defpath, **environment},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )


Install = Callable[[Closure], Installed]


def build_wheels(folder: Path) -> dict[str, Path]:
    """Build the wheel of every distribution; returns name -> wheel."""
    for project in PROJECTS.values():
        # By this environment's hatchling, which is pinned: nothing is fetched.
        here = ("--no-build-isolation", "--python", sys.executable)
        _uv("build", "--wheel", *here, "--out-dir", str(folder), str(project.folder))
    return {name: next(folder.glob(f"{name.replace('-', '_')}-[0-9]*.whl")) for name in PROJECTS}


def install(closure: Closure, folder: Path, wheels: dict[str, Path]) -> Installed:
    """Make an environment that holds the closure and nothing else, not even pip.

    What others made is kept for the next session until anything is declared or pinned otherwise;
    what we made is installed anew each time.
    """
    made_of, stamp = _made_of(), folder / "made-of.sha256"
    if not stamp.exists() or stamp.read_text() != made_of:
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    installed, arguments = Installed(closure, folder), ["--constraint", str(PINS)]
    for name in closure.ours():
        asked = Closure(name, closure.extra if name == closure.name else "")
        arguments += ["--reinstall-package", name, f"{asked} @ {wheels[name].as_uri()}"]
    _uv("pip", "install", "--python", installed.python, *arguments)
    stamp.write_text(made_of)
    return installed


def _made_of() -> str:
    files = [PINS, *(project.folder / "pyproject.toml" for project in PROJECTS.values())]
    parts = [sys.version.encode(), *(file.read_bytes() for file in files)]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def _uv(*arguments: str) -> None:
    argv = (sys.executable, "-m", "uv", "--quiet", *arguments)
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(argv)}:\n{done.stderr}"


def _extra_of(module: str) -> str:
    """Return the extra of the longest name that the module is, or is below."""
    parts = module.split(".")
    above = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
    return next((_OF_EXTRAS[name] for name in above if name in _OF_EXTRAS), "")


def _projects() -> Iterator[Project]:
    for file in sorted([*ROOT.glob("*/pyproject.toml"), *ROOT.glob("services/*/pyproject.toml")]):
        project = tomllib.loads(file.read_text())["project"]
        extras = {"": project["dependencies"], **project.get("optional-dependencies", {})}
        yield Project(
            folder=file.parent,
            name=project["name"],
            extras={extra: _parsed(needed) for extra, needed in extras.items()},
            scripts=tuple(project.get("scripts", ())),
        )


def _parsed(needed: Sequence[str]) -> tuple[Requirement, ...]:
    return tuple(Requirement(text) for text in needed)


PROJECTS = {project.name: project for project in _projects()}
CLOSURES = (
    Closure("rondo-core"),
    Closure("rondo"),
    Closure("rondo", "keras"),
    Closure("rondo-aggregator"),
    Closure("rondo-dispatcher"),
    Closure("rondo-evaluator"),
    Closure("rondo-gateway"),
    Closure("rondo-inference"),
    Closure("rondo-inference", "litert"),
    Closure("rondo-inference", "tensorflow"),
    Closure("rondo-local"),
)
