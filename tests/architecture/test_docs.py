"""Pages agree with the code that they are generated from or tell of, and their links lead there."""

import re
import subprocess
import sys
import typing
from pathlib import Path

import pytest

from rondo_core.telemetry import CounterName, GaugeName, SecondsName
from tests.architecture.packages import ROOT


def test_the_list_of_events_is_up_to_date() -> None:
    argv = [sys.executable, str(ROOT / "docs" / "make_events.py"), "--check"]

    done = subprocess.run(argv, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr


def test_the_table_of_conformance_is_up_to_date() -> None:
    argv = [sys.executable, "-m", "docs.make_conformance", "--check"]

    done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=ROOT)

    assert done.returncode == 0, done.stderr


PAGES = sorted(
    page
    for page in ROOT.rglob("*.md")
    if not {".venv", "build", "node_modules"} & set(page.relative_to(ROOT).parts)
)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_to_a_file_leads_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text("utf-8"), flags=re.DOTALL)
    links = re.findall(r"\]\((?!https?://|mailto:|#)([^)#\s]+)", text)

    missing = [link for link in links if not (page.parent / link).exists()]

    assert missing == []


def test_the_pages_that_link_to_files_were_looked_at() -> None:
    assert {"README.md", "CONTRIBUTING.md", "operations.md"} <= {page.name for page in PAGES}


def test_operations_lists_every_metric_and_no_other() -> None:
    page = (ROOT / "docs" / "operations.md").read_text("utf-8")
    names = {
        name for kind in (CounterName, GaugeName, SecondsName) for name in typing.get_args(kind)
    }

    assert set(re.findall(r"`(rondo_\w+)`", page)) == names


def test_every_metric_is_measured_somewhere() -> None:
    sources = [
        file.read_text("utf-8")
        for file in ROOT.glob("**/src/**/*.py")
        if file.name != "telemetry.py"
    ]
    names = [
        name for kind in (CounterName, GaugeName, SecondsName) for name in typing.get_args(kind)
    ]

    unused = [name for name in names if not any(f'"{name}"' in source for source in sources)]

    assert unused == []
