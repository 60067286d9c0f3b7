"""What the README tells an operator to type, typed as it stands there."""

import os
import re
from pathlib import Path

import pytest

from rondo_local.stack import Stack
from tests.readme import run_snippet

pytestmark = pytest.mark.timeout(600)


def test_an_operator_and_four_owners_get_to_a_prediction(stack: Stack, tmp_path: Path) -> None:
    environment = {
        "HOME": str(tmp_path),
        "PATH": os.environ["PATH"],
        "RONDO_HOME": str(tmp_path / "rondo"),
        "RONDO_INFERENCE_URL": stack.inference_urls[0],
        "RONDO_TOKEN": stack.operator_token,
        "RONDO_URL": stack.gateway_url,
    }

    told = run_snippet("rondo client work", environment)

    assert len(re.findall(r"round 12: accepted", told)) == 4
    assert "FINISHED, promoted as version 1" in told
    assert re.search(r"│ 1 +│ 7 +│", told)
    assert "answered by version 1 of digits" in told
