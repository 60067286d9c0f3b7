"""The commands of the README, run as they stand there."""

import re
import subprocess
from collections.abc import Mapping

from tests.architecture.packages import ROOT

__all__ = ["run_snippet", "snippet"]


def snippet(holding: str) -> str:
    """Return the one block of commands that has these words."""
    blocks = re.findall(
        r"^```sh\n(.+?)^```$", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE
    )
    (found,) = [block for block in blocks if holding in block]
    return str(found)


def run_snippet(holding: str, environment: Mapping[str, str]) -> str:
    """Run it in a shell at the root of the checkout; returns what it printed."""
    done = subprocess.run(
        ["/bin/bash", "-euo", "pipefail", "-c", snippet(holding)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
