"""docker-compose.yml and the Dockerfiles as data, read without Docker."""

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.architecture.packages import ROOT

__all__ = ["DOCKERFILES", "Dockerfile", "compose_file", "ours"]

DOCKERFILES = sorted([*ROOT.glob("*/Dockerfile"), *ROOT.glob("services/*/Dockerfile")])


def compose_file(environ: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return the file as Compose understands it where nothing but ``environ`` is set."""
    text = (ROOT / "docker-compose.yml").read_text()
    given = environ or {}

    def value(found: re.Match[str]) -> str:
        return given.get(found[1], found[2])

    document: dict[str, Any] = yaml.safe_load(re.sub(r"\$\{(\w+):-([^}]*)\}", value, text))
    return document


def ours(document: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the services that run an image of this checkout."""
    services = document["services"].items()
    return {name: one for name, one in services if one["image"].startswith("rondo/")}


@dataclass(frozen=True, slots=True)
class Dockerfile:
    """A Dockerfile: its instructions in order, lines that go on put together."""

    path: Path
    instructions: tuple[tuple[str, str], ...]

    @classmethod
    def read(cls, path: Path) -> "Dockerfile":
        """Read a file; comments are left out."""
        whole = path.read_text().replace("\\\n", "")
        lines = [line for line in whole.splitlines() if line and not line.startswith("#")]
        pairs = [line.split(maxsplit=1) for line in lines]
        return cls(path, tuple((word, rest) for word, rest in pairs))

    def last(self, word: str) -> str | None:
        """Return the arguments of the last such instruction, which is the one that counts."""
        return next((rest for one, rest in reversed(self.instructions) if one == word), None)

    @property
    def labels(self) -> dict[str, str]:
        """Label, without its prefix -> value."""
        return _pairs((self.last("LABEL") or "").replace("org.opencontainers.image.", ""))

    @property
    def environment(self) -> dict[str, str]:
        """Variables of the image itself, not of the stages that it is built from."""
        return _pairs(self.last("ENV") or "")

    @property
    def entry_point(self) -> list[str]:
        """The program; fails unless it is in exec form."""
        argv: list[str] = json.loads(self.last("ENTRYPOINT") or "")
        return argv


def _pairs(text: str) -> dict[str, str]:
    return dict(part.split("=", 1) for part in shlex.split(text))
