"""The commands of docs/batch.md, and `rondo predict --batch`, on real processes."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.architecture.packages import ROOT
from tests.emulators import Aws
from tests.integration.batch_stack import BatchStack, answers_csv, batch_stack, prices_csv, until
from tests.unit.rondo_inference.exported import prices_export

GUIDE = (ROOT / "docs" / "batch.md").read_text("utf-8")
BIN = Path(sys.executable).parent


@pytest.fixture
def stack(ministack: Aws, redis_url: str, tmp_path: Path) -> Iterator[BatchStack]:
    with batch_stack(ministack, redis_url, tmp_path) as running:
        running.promote(prices_export(1))
        running.start()
        running.start("batch-intake")
        yield running


def environment(stack: BatchStack) -> dict[str, str]:
    return {
        **stack.environment,
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "HOME": str(stack.folder),
        "BUCKET": stack.ports.names.bucket,
        "RONDO_INFERENCE_URL": f"http://127.0.0.1:{stack.port}",
    }


def test_every_command_of_the_guide_works_and_prints_what_it_says(stack: BatchStack) -> None:
    stack.start("batch-worker")
    stack.ports.model_store.put("batch/inputs/mine/in.csv", prices_csv(3))
    script = "\n".join(re.findall(r"```bash\n(.*?)```", GUIDE, re.DOTALL))
    (program,) = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
    (shown,) = re.findall(r"```text\n(.*?)```", GUIDE, re.DOTALL)

    done = subprocess.run(
        ["/bin/bash", "-euo", "pipefail", "-c", script],
        env=environment(stack),
        cwd=stack.folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    asked = subprocess.run(
        [sys.executable, "-c", program],
        env=environment(stack),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 0, done.stderr + done.stdout
    assert "3 records to out.csv by version 1 of prices" in done.stdout
    assert shown in done.stdout
    assert '{"row":1,"column":"rooms","rule":"\'many\' is not a number"}' in done.stdout
    assert '{"price":13.0}' in done.stdout
    assert "100%" in done.stderr
    assert asked.returncode == 0, asked.stderr
    output = asked.stdout.split()[0].partition("/batch/")[2]
    until(lambda: stack.ports.model_store.head(f"batch/{output}"))
    assert stack.ports.model_store.get(f"batch/{output}") == answers_csv(3)


def test_a_command_that_is_killed_goes_on_with_its_job(stack: BatchStack) -> None:
    source, target = stack.folder / "in.csv", stack.folder / "out.csv"
    source.write_bytes(prices_csv(2000))
    argv = [str(BIN / "rondo"), "predict", "--batch", str(source), str(target)]
    note = stack.folder / ".out.csv.rondo-job"
    first = subprocess.Popen(argv, env=environment(stack), stderr=subprocess.DEVNULL)
    until(lambda: [one["state"] for one in jobs(stack)] == ["SUBMITTED"])
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert note.exists()
    stack.start("batch-worker")

    done = subprocess.run(
        argv, env=environment(stack), capture_output=True, text=True, timeout=120, check=False
    )

    assert done.returncode == 0, done.stderr
    assert target.read_bytes() == answers_csv(2000)
    assert [one["state"] for one in jobs(stack)] == ["COMPLETED"]
    assert not note.exists()


def jobs(stack: BatchStack) -> list[dict[str, str]]:
    found: list[dict[str, str]] = stack.call("GET", "/batch/prices/jobs")[2]["jobs"]
    return found
