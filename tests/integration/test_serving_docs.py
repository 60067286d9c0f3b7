"""What docs/serving.md tells people to type works, against the models that it names."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rondo_local.environments import checkout
from tests.integration.test_inference_alone import Alone, start

PAGE = checkout() / "docs" / "serving.md"
MODELS = checkout() / "build" / "models"
CURL = r"""
fail-with-body
show-error
write-out = "%{stderr}answered %{http_code} %header{x-amz-function-error}\\n"
"""


def blocks() -> list[str]:
    """Return the page's blocks of commands."""
    return re.findall(r"```sh\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)


@pytest.fixture(scope="module")
def sample_server() -> Iterator[Alone]:
    program = checkout() / "examples" / "sample_models.py"
    subprocess.run([sys.executable, str(program)], check=True, capture_output=True)
    body = b'{"instances": [' + b",".join([b"[" + b",".join([b"0"] * 30) + b"]"]) + b"]}"
    found = start(MODELS, model="breast-cancer", body=body)
    yield found
    found.process.terminate()
    found.process.wait(timeout=60)


@pytest.mark.parametrize("block", blocks(), ids=lambda block: block.splitlines()[-1][:60])
def test_a_command_of_the_page_works(block: str, sample_server: Alone, tmp_path: Path) -> None:
    (tmp_path / ".curlrc").write_text(CURL)
    if "/tmp/rows.json" in block:  # noqa: S108  (made by another block of the page)
        block = next(one for one in blocks() if "> /tmp/rows.json" in one) + block
    script = block.replace("127.0.0.1:8080", sample_server.http)

    done = subprocess.run(
        ["/bin/bash", "-euo", "pipefail", "-c", script],
        env={"PATH": "/usr/bin:/bin", "CURL_HOME": str(tmp_path)},
        capture_output=True,
        check=False,
    )

    assert done.returncode == 0, (done.stdout[-2000:], done.stderr[-2000:])
    answers = re.findall(rb"^answered (.*?) ?$", done.stderr, re.MULTILINE)
    assert answers == [b"200"] * script.count("curl "), done.stdout[-2000:]


def test_the_page_has_a_command_for_every_contract() -> None:
    text = "".join(blocks())

    for part in ("/v1/models/", "/v2/models/", "/invocations", "/2015-03-31/", "/metrics"):
        assert part in text


def test_a_server_alone_answers_soon_after_its_start(sample_server: Alone) -> None:
    """The first answer comes long before any probe gives up; `make bench-inference` measures it."""
    assert sample_server.first_answer_seconds < 30
