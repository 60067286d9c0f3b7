"""Pages that are generated agree with the code they are generated from."""

import subprocess
import sys

from tests.architecture.packages import ROOT


def test_the_list_of_events_is_up_to_date() -> None:
    argv = [sys.executable, str(ROOT / "docs" / "make_events.py"), "--check"]

    done = subprocess.run(argv, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
