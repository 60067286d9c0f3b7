"""The list of settings is complete: what is read, and by whom."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.packages import ROOT, packages

PAGE = ROOT / "docs" / "settings.md"
NOT_FOR_PEOPLE = {"RONDO_INSTALL_SECONDS"}  # from what installs to the report of the demo


def test_the_list_of_settings_is_up_to_date() -> None:
    argv = [sys.executable, str(ROOT / "docs" / "make_settings.py"), "--check"]

    done = subprocess.run(argv, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr


def test_every_service_has_its_part() -> None:
    services = sorted(file.parts[-4] for file in ROOT.glob("services/*/src/*/settings.py"))

    titles = re.findall("^## (.+)$", PAGE.read_text("utf-8"), re.MULTILINE)

    assert services == sorted(set(titles) & set(services))
    assert len(services) == len(list(ROOT.glob("services/*/pyproject.toml")))


@pytest.mark.parametrize("package", packages(), ids=lambda folder: folder.name)
def test_variables_of_our_own_that_the_code_names_are_explained(package: Path) -> None:
    code = "".join(file.read_text("utf-8") for file in package.rglob("*.py"))

    named = set(re.findall(r"\bRONDO_[A-Z_]+\b", code)) - NOT_FOR_PEOPLE

    assert {name for name in named if f"`{name}`" not in PAGE.read_text("utf-8")} == set()
