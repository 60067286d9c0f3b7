"""The commands of the README, run as they stand there."""

import re
import subprocess
from pathlib import Path

from tests.architecture.packages import ROOT
from tests.containers.engine import environment

__all__ = ["run_snippet", "snippet"]


def snippet(holding: str) -> str:
    """Return the one block of commands that has these words."""
    blocks = re.findall(
        r"^```sh\n(.+?)^```$", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE
    )
    (found,) = [block for block in blocks if holding in block]
    return str(found)


def run_snippet(holding: str, *, tools: Path) -> str:
    """Run it in a shell at the root of the checkout; returns what it printed."""
    given = environment()
    given["PATH"] = f"{tools}:{given['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", snippet(holding)],
        cwd=ROOT,
        env=given,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
